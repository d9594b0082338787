"""The broker: KRaft, broker and controller in one process."""

import asyncio
import shutil
import uuid
from base64 import urlsafe_b64encode

from cli.stack.checks import java
from cli.stack.environment import HOST
from cli.stack.errors import StackError
from cli.stack.layout import TEMPLATES, jars
from cli.stack.parts.base import Context, Part, fill_template, listening
from cli.stack.processes import Command

# Both virtual machines: one thread collects, and only the first compiler runs. Halves the start on two cores.
JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djava.awt.headless=true")


def java_argv(heap: str, main: str, *arguments: str) -> list[str]:
    """A Java program on the stack's class path."""
    logging = f"-Dlog4j2.configurationFile={TEMPLATES / 'log4j2.yaml'}"
    return [java(), *JVM, f"-Xms{heap}", f"-Xmx{heap}", logging, "-cp", f"{jars() / 'libs'}/*", main, *arguments]


def kafka(context: Context) -> Part:
    """One broker on loopback."""
    port, controller = context.ports["kafka"], context.ports["kafka-controller"]
    data = context.layout.data("kafka")
    config = context.layout.config / "broker.properties"

    async def prepare() -> None:
        fill_template("broker.properties", config, {"port": port, "controller_port": controller, "data": data})
        if not (data / "meta.properties").exists():
            await _format(context)

    async def ready() -> bool:
        return await listening(port)

    return Part(
        name="kafka",
        command=Command(java_argv("384m", "kafka.Kafka", str(config))),
        address=f"{HOST}:{port}",
        ready=ready,
        listens=(port, controller),
        prepare=prepare,
        stop_bound_s=15.0,
    )


async def _format(context: Context) -> None:
    """Write the broker's identity, as `kafka-storage.sh format --standalone` does, into a fresh folder."""
    shutil.rmtree(context.layout.data("kafka"), ignore_errors=True)
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
    argv = java_argv(
        "64m", "kafka.tools.StorageTool", "format", "-t", cluster, "-c",
        str(context.layout.config / "broker.properties"), "--standalone",
    )  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    with context.layout.log("kafka").open("ab") as log:
        log.write(output)
    if process.returncode != 0:
        lines = output.decode(errors="replace").strip().splitlines() or ["no output"]
        raise StackError(f"formatting Kafka's folder failed: {lines[0]}", f"See {context.layout.log('kafka')}")
