"""The gate before claims: shut by a store that is away, opened by its first answer, indifferent to everything else."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from connectors.telemetry.metrics import Metrics
from schemas.errors import ErrorCode, MedialaneError
from streams.media.gate import StoreGate


class Store:
    """Away for so many questions, and for whoever does not wait until its threads are free."""

    def __init__(self, refusals):
        self.refusals = refusals

    async def check(self, *, patient=False):
        if self.refusals or not patient:
            self.refusals -= 1
            raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE)


@pytest.fixture
def metrics():
    return Metrics(CollectorRegistry(), process="media-images")


def shown(metrics):
    return [line for line in metrics.render().decode().splitlines() if line.startswith("media_dependency_up")]


async def test_it_shuts_and_opens_again_by_itself(metrics):
    store = Store(3)
    gate = StoreGate(store, metrics, probe_s=0.001)
    gate.check()
    assert gate.problems() == []
    gate.report(MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE))
    with pytest.raises(MedialaneError) as caught:
        gate.check()
    assert caught.value.code is ErrorCode.OBJECT_STORE_UNAVAILABLE
    assert gate.problems() != []
    assert shown(metrics) == ['media_dependency_up{dependency="object_store"} 0.0']
    running = asyncio.create_task(gate.run())
    async with asyncio.timeout(60):
        while gate.problems():  # noqa: ASYNC110 - the gate offers no event
            await asyncio.sleep(0.001)
    running.cancel()
    gate.check()
    assert store.refusals == 0
    assert shown(metrics) == ['media_dependency_up{dependency="object_store"} 1.0']


@pytest.mark.parametrize("code", [code for code in ErrorCode if code is not ErrorCode.OBJECT_STORE_UNAVAILABLE])
def test_other_failures_leave_it_open(metrics, code):
    gate = StoreGate(Store(0), metrics)
    gate.report(MedialaneError(code))
    gate.check()
