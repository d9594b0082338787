"""connector.json with its placeholders filled."""

from urllib.parse import urlencode

import pytest

from connectors.debezium import ConnectorStatus, connector_config, source
from connectors.debezium.client import ConnectorState
from schemas.settings import ConnectSettings

URL = "postgresql://rep%40l:p%5Cw%24%7B1%7D@db.example:6543/media?sslmode=verify-full"


def settings(**changes):
    return ConnectSettings(**{"url": "http://c", "database_url": URL, "slot": "my_slot"} | changes)


def test_every_placeholder_is_filled_and_values_go_in_as_they_are():
    config = connector_config(settings(poll_interval_ms=5), topic_prefix="shop", replication_factor=3)
    assert not [value for value in config.values() if "{{" in value]
    assert config["database.hostname"] == "db.example"
    assert config["database.port"] == "6543"
    assert config["database.user"] == "rep@l"
    assert config["database.password"] == "p\\w${1}"
    assert config["database.sslmode"] == "verify-full"
    assert config["slot.name"] == config["topic.prefix"] == "my_slot"
    assert config["predicates.isOutbox.pattern"] == r"my_slot\.public\.outbox"
    assert config["predicates.isDeadLetter.pattern"] == r"shop\.jobs\.dlq"
    assert config["transforms.outbox.route.topic.replacement"] == "shop.${routedByValue}"
    assert config["topic.creation.default.replication.factor"] == "3"
    assert config["poll.interval.ms"] == "5"


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"database_url": URL.replace("rep%40l:p%5Cw%24%7B1%7D", "other:secret")}, True),
        ({"poll_interval_ms": 50}, True),
        ({"database_url": URL.replace("db.example", "db2.example")}, False),
        ({"database_url": URL.replace("6543", "6544")}, False),
        ({"database_url": URL.replace("/media", "/media2")}, False),
        ({"slot": "my_slot2"}, False),
    ],
)
def test_a_connector_is_known_by_what_it_reads(changes, same):
    assert (source(connector_config(settings())) == source(connector_config(settings(**changes)))) is same
    assert source({"connector.class": "of somebody else"}) != source(connector_config(settings()))


def test_certificates_of_the_address_reach_the_connector_and_nothing_else_is_set():
    files = {"sslrootcert": "/tls/ca one.crt", "sslcert": "/tls/client.crt", "sslkey": "/tls/client.pk8"}
    asked = f"{URL}&{urlencode(files)}&application_name=x"
    assert connector_config(settings(database_url=asked)) == connector_config(settings()) | {
        f"database.{name}": path for name, path in files.items()
    }


def test_what_is_placed_on_dead_letters_is_taken_off_everything_else():
    config = connector_config(settings())
    placed = config["transforms.outbox.table.fields.additional.placement"].split(",")
    special = {alias for alias in (one.split(":")[-1] for one in placed) if alias.startswith(("__dlq", "medialane_"))}
    assert special == set(config["transforms.plain.headers"].split(","))
    assert (config["transforms.plain.predicate"], config["transforms.plain.negate"]) == ("isDeadLetter", "true")


def test_what_durability_rests_on_is_set():
    config = connector_config(settings())
    assert config["exactly.once.support"] == "requested"
    assert config["producer.override.enable.idempotence"] == "true"
    assert config["snapshot.mode"] == "when_needed"
    assert config["producer.override.acks"] == "all"
    assert config["errors.tolerance"] == "none"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"database_url": None}, "MEDIALANE_CONNECT_DATABASE_URL is not set"),
        ({"database_url": "mysql://u:p@h/d"}, "must be postgresql://user:password@host:port/name"),
        ({"database_url": "postgresql://u:p@h"}, "must be postgresql://"),
        ({"slot": "Not a slot"}, "MEDIALANE_CONNECT_SLOT='Not a slot' is not a slot name"),
    ],
)
def test_a_wrong_setting_names_itself(changes, message):
    with pytest.raises(ValueError, match=message):
        connector_config(settings(**changes))


def test_a_connector_without_tasks_does_not_run():
    status = ConnectorStatus(name="n", connector=ConnectorState(state="RUNNING", worker_id="w"))
    assert not status.running
    assert not status.failed
    assert status.cause == ""
