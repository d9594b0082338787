"""One attempt: sign, POST, judge the answer. Each runs in a task of its own and holds one slot."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import structlog
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from connectors.http.client import Answer, HttpClient, Outcome
from connectors.postgres.webhooks.deliveries import LeasedDelivery, Settlement
from connectors.secrets import SecretBox, SecretUnreadableError
from connectors.telemetry import Metrics, Tracing
from connectors.telemetry.metrics import status_class
from connectors.telemetry.tracing import traceparent_of
from schemas.metrics import (
    WEBHOOK_ATTEMPT_DURATION,
    WEBHOOK_ATTEMPTS,
    WEBHOOK_FIRST_ATTEMPT_AGE,
    WEBHOOK_IN_FLIGHT,
)
from streams.webhooks.message import age_of
from streams.webhooks.schedule import Schedule, Verdict
from streams.webhooks.settling import Settled, Settling
from streams.webhooks.signing import signed_headers
from streams.webhooks.slots import Slots

log = structlog.get_logger(__name__)

# An answer that takes longer is none, as far as slots go: few such receivers would hold all of them.
_LATE_S = 5.0
# Instead of an answer: nothing was sent, so nothing is known of the receiver.
_UNREADABLE = Answer(
    outcome=Outcome.UNSENT,
    elapsed_s=0.0,
    detail="the endpoint's secret cannot be opened: its encryption key is not set",
)


class _Ended(NamedTuple):
    """An attempt that is over: whether the receiver answered soon (None: nothing was sent), and what is left of it."""

    answered: bool | None = None
    lingering: asyncio.Future[Any] | None = None


class Sender:
    """Tries leased deliveries; what came of each goes to `settling`, its slot back to `slots` once nothing is left."""

    def __init__(
        self,
        http: HttpClient,
        box: SecretBox,
        slots: Slots,
        settling: Settling,
        schedule: Schedule,
        *,
        tracing: Tracing,
        metrics: Metrics,
    ) -> None:
        self._http = http
        self._box = box
        self._slots = slots
        self._settling = settling
        self._schedule = schedule
        self._tracing = tracing
        self._metrics = metrics
        self._tasks: dict[asyncio.Task[_Ended], LeasedDelivery] = {}
        self._lingering = 0  # attempts that are over but for what still holds their slots

    def start(self, delivery: LeasedDelivery) -> None:
        """Begin an attempt; the caller has taken the slot and committed the lease."""
        task = asyncio.create_task(self._attempt(delivery), name=f"webhook {delivery.id}")
        self._tasks[task] = delivery
        task.add_done_callback(self._ended)
        self._show()

    async def finish(self, timeout_s: float) -> Sequence[LeasedDelivery]:
        """Wait for attempts in flight, then cancel; returns the deliveries whose attempts were cut off."""
        if not self._tasks:
            return []
        _, late = await asyncio.wait(list(self._tasks), timeout=timeout_s)
        unfinished = [self._tasks[task] for task in late if task in self._tasks]
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return unfinished

    async def _attempt(self, delivery: LeasedDelivery) -> _Ended:
        first = delivery.first
        age_s, sick = age_of(delivery.payload, datetime.now(UTC)), self._slots.is_sick(delivery.endpoint_id)
        # Hours may pass before a retry: it gets a trace of its own, with a link to the event's.
        with self._tracing.span(
            "webhook attempt",
            kind=SpanKind.CLIENT,
            parent_traceparent=delivery.traceparent if first else None,
            new_trace=not first,
            links=() if first else (delivery.traceparent,),
            attributes={
                "http.request.method": "POST",
                "medialane.webhook.attempt": delivery.attempt,
                "medialane.webhook.endpoint_id": str(delivery.endpoint_id),
                "medialane.event.id": str(delivery.event_id),
                "medialane.event.type": delivery.event_type,
            },
        ) as span:
            traceparent = traceparent_of(span)
            answer, verdict = await self._tried(delivery, traceparent)
            _tell(span, answer, verdict)
            self._count(answer, verdict)
            # Its own limit is no reason to leave one out: after a stop of ours, all that waited runs at that limit.
            if first and not sick and not verdict.unsent:
                self._metrics.histogram(WEBHOOK_FIRST_ATTEMPT_AGE).observe(age_s)
            if verdict.outcome != "delivered":
                log.info(
                    "webhook attempt failed",
                    delivery_id=str(delivery.id),
                    attempt=delivery.attempt,
                    outcome=verdict.outcome,
                    status=answer.status,
                    detail=answer.detail,
                    state=verdict.state.value,
                )
        self._settling.put(
            Settled(
                _settlement(delivery, answer, verdict, traceparent),
                delivery.endpoint_id,
                delivery.url,
                disable="The receiver answered 410 Gone." if verdict.gone else None,
            )
        )
        soon = answer.outcome is Outcome.ANSWERED and answer.elapsed_s < _LATE_S
        return _Ended(None if verdict.unsent else soon, answer.lingering)

    async def _tried(self, delivery: LeasedDelivery, traceparent: str | None) -> tuple[Answer, Verdict]:
        try:
            secret = self._box.open(delivery.secret)
            # Nor without the old one's signature: whoever checks that alone would refuse it, which costs an attempt.
            old = None if delivery.secret_old is None else self._box.open(delivery.secret_old)
        except SecretUnreadableError:
            return _UNREADABLE, self._schedule.unreadable()
        answer = await self._post(delivery, secret, old, traceparent)
        return answer, self._schedule.judge(answer, delivery.tries)

    async def _post(
        self, delivery: LeasedDelivery, secret: bytes, old: bytes | None, traceparent: str | None
    ) -> Answer:
        body = delivery.payload.encode()
        headers = {
            "Content-Type": "application/json",
            **signed_headers(secret, old=old, event_id=delivery.event_id, timestamp=int(time.time()), body=body),
        }
        if traceparent is not None:
            headers["traceparent"] = traceparent
        return await self._http.post(delivery.url, body=body, headers=headers)

    def _count(self, answer: Answer, verdict: Verdict) -> None:
        labels = (verdict.outcome, status_class(answer.status))
        self._metrics.counter(WEBHOOK_ATTEMPTS, *labels).inc()
        self._metrics.histogram(WEBHOOK_ATTEMPT_DURATION, *labels).observe(answer.elapsed_s)

    def _ended(self, task: asyncio.Task[_Ended]) -> None:
        delivery = self._tasks.pop(task)
        broke = None if task.cancelled() else task.exception()
        if broke is not None:
            # A defect of ours. The lease runs out and the delivery comes again, here or elsewhere.
            log.error("webhook attempt broke", delivery_id=str(delivery.id), exc_info=broke)
        ended = _Ended() if task.cancelled() or broke is not None else task.result()
        if ended.answered is not None:
            self._slots.learn(delivery.endpoint_id, answered=ended.answered)
        self._lingering += 1
        if ended.lingering is None:
            self._left(delivery)
        else:
            ended.lingering.add_done_callback(lambda _: self._left(delivery))

    def _left(self, delivery: LeasedDelivery) -> None:
        self._lingering -= 1
        self._slots.give_back(delivery.endpoint_id)
        self._show()

    def _show(self) -> None:
        self._metrics.gauge(WEBHOOK_IN_FLIGHT).set(len(self._tasks) + self._lingering)


def _tell(span: Span, answer: Answer, verdict: Verdict) -> None:
    span.set_attribute("medialane.webhook.outcome", verdict.outcome)
    if answer.status is not None:
        span.set_attribute("http.response.status_code", answer.status)
    if verdict.outcome != "delivered":
        span.set_status(Status(StatusCode.ERROR, answer.detail or verdict.outcome))


def _settlement(delivery: LeasedDelivery, answer: Answer, verdict: Verdict, traceparent: str | None) -> Settlement:
    # What a stranger's server answered: any bytes. Postgres takes text without NUL, of at most 4096 bytes.
    text = (answer.body.decode("utf-8", "replace") or answer.detail).replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return Settlement(
        id=delivery.id,
        epoch=delivery.epoch,
        attempt=delivery.attempt,
        state=verdict.state,
        pause_s=verdict.pause_s,
        sent=not verdict.unsent,
        outcome=verdict.outcome,
        status=answer.status,
        response=text.encode()[:4096].decode("utf-8", "ignore"),
        traceparent=traceparent,
    )
