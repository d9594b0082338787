"""Medialane's own processes: `medialane run NAME`, ready when they say so on /readyz."""

import sys

from cli.stack.environment import HOST, process_variables
from cli.stack.errors import StackError
from cli.stack.names import PROCESSES
from cli.stack.parts.base import Context, Part, http_status
from cli.stack.processes import Command

# On a machine that runs everything, who waits for an answer goes before the work that takes seconds anyway; the media
# children stand back behind these (`MEDIALANE_PROCESSOR_NICE`).
_NICE = {"webhooks": 10, "media-images": 10, "media-video": 10}


def medialane(name: str, context: Context) -> Part:
    """One process; `media-images@2` is a second one of its kind, which listens wherever it finds room."""
    kind, _, copy = name.partition("@")
    if kind not in PROCESSES:
        raise StackError(f"there is no part {name}", f"Medialane's processes: {', '.join(PROCESSES)}")
    env = process_variables(name, context.ports, context.secrets, context.layout, context.overrides)
    port = int(env["MEDIALANE_API_PORT" if kind == "api" else "MEDIALANE_TELEMETRY_METRICS_PORT"])

    async def ready() -> bool:
        return port == 0 or await http_status(port, "/readyz") == 200

    async def prepare() -> None:
        (context.layout.temp / name).mkdir(parents=True, exist_ok=True)

    argv = [sys.executable, "-P", "-m", "cli.main", "run", kind]
    return Part(
        name=name,
        command=Command(argv, env=env, cwd=context.layout.folder, nice=_NICE.get(kind, 0)),
        address=f"http://{HOST}:{port}" if port else "",
        ready=ready,
        listens=(port,) if port and not copy else (),
        prepare=prepare,
        stop_bound_s=12.0,
    )
