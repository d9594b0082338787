"""Kafka Connect with the Debezium plugin."""

from cli.stack.environment import HOST, brokers
from cli.stack.layout import TEMPLATES, jars
from cli.stack.parts.base import Context, Part, fill_template, http_status
from cli.stack.parts.kafka import java_argv
from cli.stack.ports import broker_names
from cli.stack.processes import Command


def connect(context: Context) -> Part:
    """One worker of a distributed Connect cluster. It may start before the broker and waits for it.

    Its overrides are properties of the worker.
    """
    port = context.ports["connect"]
    config = context.layout.config / "connect.properties"

    async def prepare() -> None:
        values = {"kafka_port": context.ports["kafka"], "port": port, "plugins": jars() / "plugins"}
        copies = len(broker_names(context.ports))
        own = {f"{name}.storage.replication.factor": copies for name in ("config", "offset", "status")}
        instead = {"bootstrap.servers": brokers(context.ports), **own, **context.overrides}
        fill_template("connect.properties", config, values, instead)

    async def ready() -> bool:
        # "/" answers before the worker has joined its group; the list of connectors only after.
        return await http_status(port, "/connectors") == 200

    program = java_argv("320m", "org.apache.kafka.connect.cli.ConnectDistributed", str(config))
    return Part(
        name="connect",
        command=Command(["sh", str(TEMPLATES / "late-timers.sh"), *program]),
        address=f"http://{HOST}:{port}",
        ready=ready,
        listens=(port,),
        prepare=prepare,
    )
