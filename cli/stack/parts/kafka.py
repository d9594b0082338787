"""The broker: KRaft, broker and controller in one process; one alone, or a cluster of three."""

import hashlib
import shutil
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from cli.stack.checks import java
from cli.stack.environment import HOST
from cli.stack.layout import TEMPLATES, jars
from cli.stack.names import BROKERS
from cli.stack.parts.base import Context, Part, fill_template, listening, run_once
from cli.stack.ports import BEHIND, DOOR, broker_names, controller_of
from cli.stack.processes import Command

# Both virtual machines: one thread collects, and only the first compiler runs. Halves the start on two cores.
JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djava.awt.headless=true")


def java_argv(heap: str, main: str, *arguments: str) -> list[str]:
    """A Java program on the stack's class path."""
    logging = f"-Dlog4j2.configurationFile={TEMPLATES / 'log4j2.yaml'}"
    return [java(), *JVM, f"-Xms{heap}", f"-Xmx{heap}", logging, "-cp", f"{jars() / 'libs'}/*", main, *arguments]


def kafka(context: Context, name: str = BROKERS[0]) -> Part:
    """One broker on loopback; the others of a cluster are called kafka@2 and kafka@3."""
    port, controller = context.ports[name], context.ports[controller_of(name)]
    data = context.layout.data(name)
    config = context.layout.config / f"{name}.properties"
    behind = (context.ports[BEHIND],) if name == BROKERS[0] and BEHIND in context.ports else ()

    async def prepare() -> None:
        values = {"port": port, "controller_port": controller, "data": data}
        fill_template("broker.properties", config, values, {**_cluster(context, name), **_door(context, name)})
        if not (data / "meta.properties").exists():
            await _format(context, name, config)

    async def ready() -> bool:
        return await listening(port)

    return Part(
        name=name,
        command=Command(java_argv("384m", "kafka.Kafka", str(config))),
        address=f"{HOST}:{port}",
        ready=ready,
        listens=(port, controller, *behind),
        prepare=prepare,
        stop_bound_s=15.0,
    )


def _cluster(context: Context, name: str) -> dict[str, object]:
    """What differs in a cluster: three copies of everything, of which two must be in sync."""
    brokers = broker_names(context.ports)
    if len(brokers) == 1:
        return {}
    voters = (
        f"{number}@{HOST}:{context.ports[controller_of(broker)]}" for number, broker in enumerate(brokers, start=1)
    )
    copies, in_sync = len(brokers), len(brokers) // 2 + 1
    internal = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
    return {
        "node.id": brokers.index(name) + 1,
        "controller.quorum.bootstrap.servers": None,
        "controller.quorum.voters": ",".join(voters),
        "controlled.shutdown.enable": "true",
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        **{f"{topic}.replication.factor": copies for topic in internal},
        **{f"{topic}.min.isr": in_sync for topic in internal[1:]},
        # A dead broker is noticed as soon as a dead worker.
        "broker.session.timeout.ms": 6000,
        "unclean.leader.election.enable": "false",
    }


def _door(context: Context, name: str) -> dict[str, object]:
    """A listener whose clients come through somebody else's proxy; the broker itself goes past it."""
    ports = context.ports
    if name != BROKERS[0] or not {DOOR, BEHIND} <= ports.keys():
        return {}
    plain, controller = f"PLAINTEXT://{HOST}:{ports[name]}", f"CONTROLLER://{HOST}:{ports[controller_of(name)]}"
    return {
        "listeners": f"{plain},DOOR://{HOST}:{ports[BEHIND]},{controller}",
        "advertised.listeners": f"{plain},DOOR://{HOST}:{ports[DOOR]}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,DOOR:PLAINTEXT,CONTROLLER:PLAINTEXT",
    }


def _cluster_id(context: Context) -> bytes:
    """Every broker of a cluster formats its folder by itself, so the id comes from what they share."""
    return hashlib.sha256(f"cluster {context.secrets.s3_access_key}".encode()).digest()[:16]


async def _format(context: Context, name: str, config: Path) -> None:
    """Write a broker's identity, as `kafka-storage.sh format` does, into a fresh folder."""
    shutil.rmtree(context.layout.data(name), ignore_errors=True)
    alone = len(broker_names(context.ports)) == 1
    identity = uuid.uuid4().bytes if alone else _cluster_id(context)
    cluster = urlsafe_b64encode(identity).decode().rstrip("=").replace("-", "A")
    argv = java_argv(
        "64m", "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config),
        *(("--standalone",) if alone else ()),
    )  # fmt: skip
    await run_once(context, name, argv)
