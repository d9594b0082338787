"""The parts of a stack as data: what to run, how to tell that it is ready, how to stop it."""

from cli.stack.names import BROKERS
from cli.stack.parts.base import Context, Part
from cli.stack.parts.connect import connect
from cli.stack.parts.kafka import kafka
from cli.stack.parts.medialane import medialane
from cli.stack.parts.postgres import postgres
from cli.stack.parts.s3 import s3

_INFRASTRUCTURE = {"postgres": postgres, "connect": connect, "s3": s3}


def build(name: str, context: Context) -> Part:
    """The part with this name; brokers and Medialane's own processes may have a number (`media-images@2`)."""
    if name in BROKERS:
        return kafka(context, name)
    if name in _INFRASTRUCTURE:
        return _INFRASTRUCTURE[name](context)
    return medialane(name, context)


__all__ = ["Context", "Part", "build"]
