"""Log lines: one JSON object each, from our own loggers and from every library's, with the ids of the current span.

`configure_logs(...)` is called once by a process's entry point; modules then use `structlog.get_logger(__name__)`.
"""

import logging
import math
import sys
import time
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import msgspec
import structlog
from opentelemetry import trace
from structlog.tracebacks import ExceptionDictTransformer

Level = Literal["debug", "info", "warning", "error"]

# These log every request or rebalance step at INFO, which nobody reads and which costs more than the work.
_NOISY = ("aiokafka", "aiohttp.access", "botocore", "faust", "mode")
# Of what they warn of, the same again is passed over for so long: of a broker that is away, aiokafka says eighty lines
# a second, more than a gigabyte a day in each worker.
_SAME_S = 10.0
_MOST_KNOWN = 1000
# Its warnings, of a store that is away, quote addresses with their signatures, which open objects for whoever reads the
# log. Whoever asked tells of it.
_INDISCREET = "urllib3"


def configure_logs(*, service: str, level: Level = "info", stream: TextIO | None = None) -> None:
    """Send every log line of this process to `stream` (standard error if none) as JSON.

    Keys: timestamp (UTC, ISO 8601), level, service, logger, event, trace_id and span_id inside a span, and whatever
    the caller bound. Calling it again replaces the former configuration.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _Service(service),
        add_span_ids,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(_Seldom())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # Without locals: they may hold secrets.
                structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
                structlog.processors.JSONRenderer(serializer=_to_json),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.getLogger(_INDISCREET).setLevel(logging.ERROR)


def add_span_ids(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Structlog processor: trace_id (32 hex digits) and span_id (16) of the current span, if there is one."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event.setdefault("trace_id", format(context.trace_id, "032x"))
        event.setdefault("span_id", format(context.span_id, "016x"))
    return event


class _Seldom(logging.Filter):
    """Lets a line of the noisy libraries through once per `_SAME_S`, whatever fills its template; a stack, always."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info or not record.name.startswith(_NOISY):
            return True
        said, now = (record.name, str(record.msg)), time.monotonic()
        if now - self._said.get(said, -math.inf) < _SAME_S:
            return False
        if len(self._said) >= _MOST_KNOWN:  # some put their values into the template
            self._said.clear()
        self._said[said] = now
        return True


class _Service:
    """Adds the service's name to every line."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("service", self._name)
        return event


def _to_json(value: Any, **_ignored: Any) -> str:
    return msgspec.json.encode(value, enc_hook=repr).decode()
