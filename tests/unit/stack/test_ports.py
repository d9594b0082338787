"""Free ports: remembered where possible, never one that somebody holds, and a taken one names its holder."""

import itertools
import os
import socket

import pytest

from cli.stack import ports
from cli.stack.errors import StackError


@pytest.fixture
def claims():
    return ports.Claims()


@pytest.fixture
def taken():
    """A port that this process listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_every_name_gets_a_port_of_its_own_and_the_object_store_room_for_grpc(claims):
    assigned = ports.assign({}, {}, claims)
    assert set(assigned) == set(ports.NAMES)
    grpc = [assigned[name] + ports.GRPC_OFFSET for name in ports.NAMES if name.startswith("s3")]
    every = [*assigned.values(), *grpc]
    assert len(set(every)) == len(every)
    assert all(port < 65_536 for port in every)


def test_a_stack_keeps_its_ports_but_not_one_that_was_taken_meanwhile(claims, taken):
    before = ports.assign({}, {}, claims)
    again = ports.assign({**before, "api": taken}, {}, claims)
    assert again.pop("api") != taken
    assert again == {name: port for name, port in before.items() if name != "api"}


def test_a_port_that_is_taken_is_passed_over(claims, taken):
    candidates = itertools.chain([taken, taken], itertools.count(23_000))
    assert taken not in ports.assign({}, {}, claims, pick=lambda: next(candidates)).values()


def test_a_pinned_port_is_nobody_elses(claims):
    pinned = {"api": ports.assign({}, {}, claims)["api"]}
    candidates = itertools.chain(pinned.values(), itertools.count(23_000))
    assigned = ports.assign({"postgres": pinned["api"]}, pinned, claims, pick=lambda: next(candidates))
    assert [name for name, port in assigned.items() if port == pinned["api"]] == ["api"]


def test_of_two_stacks_that_start_at_once_neither_gets_a_port_of_the_others(claims):
    pinned = {"api": ports.assign({}, {}, claims)["api"]}
    first = ports.assign({}, pinned, claims)
    candidates = itertools.chain(first.values(), itertools.count(23_000))
    second = ports.assign(first, {}, ports.Claims(), pick=lambda: next(candidates))
    assert not set(first.values()) & set(second.values()), "though nothing listens there yet"
    assert ports.assign(first, {}, claims) == first


def test_a_pinned_port_that_is_taken_names_its_holder_and_the_cure(claims, taken):
    with pytest.raises(StackError) as refused:
        ports.assign({}, {"api": taken}, claims)
    assert f"port {taken} for api is taken by process {os.getpid()}" in refused.value.cause
    assert "--port api=NUMBER" in refused.value.cure


def test_a_pin_of_an_unknown_part_lists_the_known_ones(claims):
    with pytest.raises(StackError, match=r"there is no part kafak.*kafka, kafka-controller"):
        ports.assign({}, {"kafak": 12_345}, claims)


def test_a_pin_that_leaves_no_room_for_grpc_says_how_high_it_may_be(claims):
    with pytest.raises(StackError, match=r"port 60000 for s3 is too high.*\. Choose one up to 55535"):
        ports.assign({}, {"s3": 60_000}, claims)
    assert ports.assign({}, {"api": 60_000}, claims)["api"] == 60_000
