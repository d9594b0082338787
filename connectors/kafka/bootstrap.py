"""Whether any broker answers: asked before a consumer starts, which would end its process if none does."""

import asyncio
import time

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connectors.kafka.options import client_options
from connectors.kafka.reasons import Reasons
from schemas.settings import KafkaSettings

log = structlog.get_logger(__name__)

_ANSWER_S = 2.0  # a process that is told to stop meanwhile ends this much later at most
_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 3.0
_SAY_EVERY_S = 5.0


async def until_reachable(settings: KafkaSettings) -> None:
    """Wait until a broker has told of the cluster; says in the log every few seconds what it waits for."""
    reasons = Reasons()
    admin = AdminClient(client_options(settings) | reasons.options | {"client.id": "medialane-bootstrap"})
    pause, began = _PAUSE_S, time.monotonic()
    said: float | None = None
    while True:
        try:
            await asyncio.to_thread(admin.list_topics, timeout=_ANSWER_S)
        except KafkaException as error:
            now = time.monotonic()
            if said is None or now - said >= _SAY_EVERY_S:
                said = now
                log.warning(
                    "no Kafka broker answers; waiting for one", brokers=settings.brokers, for_s=round(now - began),
                    error=reasons.why(admin, error),
                )  # fmt: skip
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)
        else:
            if said is not None:
                log.info("a Kafka broker answers", after_s=round(time.monotonic() - began))
            return
