"""The demo from a running stack to a verdict: act as client and receiver, then hold everything against the promises."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from uuid import UUID

import msgspec
from rich.console import Console

from cli.client import MedialaneClient
from cli.demo.checks import check_variant, check_variants, check_webhooks
from cli.demo.report import print_timeline, print_variants
from cli.demo.scenario import Upload, upload_and_follow
from cli.demo.timeline import timeline
from cli.demo.trace import check_trace, logged_traces
from cli.demo.verdicts import Checks
from cli.harness.measure import Measured, measure
from cli.harness.onboarding import Tenant
from cli.harness.platform import Platform
from cli.harness.receiver import Received, Receiver
from cli.harness.rows import AssetRows, EventRow
from cli.harness.samples import Samples
from cli.harness.witness import Witness
from connectors.postgres.database import Database
from schemas.events import EVENT_TYPES
from schemas.records import HEADER_ID
from schemas.topics import EVENTS, IMAGE_JOBS, VIDEO_JOBS

Tell = Callable[[str], None]
_PATIENCE_S = 180.0  # a busy machine is slow, not broken


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo found."""

    assets: int
    variants: int
    webhooks: int
    held: int
    failures: tuple[str, ...]


async def act(platform: Platform, tenant: Tenant, samples: Samples, console: Console, tell: Tell) -> Verdict:
    """Upload two photos and the video as a new tenant, check everything, print the tables.

    A promise that does not hold is in the verdict; raises only what keeps the demo from going on (`ClientError`).
    """
    with ExitStack() as scope:
        topics = [platform.topic(topic) for topic in (EVENTS, IMAGE_JOBS, VIDEO_JOBS)]
        witness = scope.enter_context(Witness(platform.kafka, topics))
        async with (
            Receiver() as receiver,
            MedialaneClient(platform.api_url, tenant.api_key) as client,
            Database(platform.database, application="demo") as database,
        ):
            endpoint = await client.register_webhook(receiver.url(), sorted(EVENT_TYPES))
            tell(f"webhook endpoint {endpoint.url} registered")
            paths = (*samples.photos[:2], samples.video)
            uploads = await asyncio.gather(
                *(upload_and_follow(client, path, tell, patience_s=_PATIENCE_S) for path in paths)
            )
            audit = _Audit(Checks(), AssetRows(database), platform, witness, receiver, endpoint.secret or "")
            return await audit.everything(uploads, console, tell)


class _Audit:
    """Holds what was seen from outside against what was promised."""

    def __init__(
        self, checks: Checks, ledger: AssetRows, platform: Platform, witness: Witness, receiver: Receiver, secret: str
    ) -> None:
        self._checks = checks
        self._ledger = ledger
        self._platform = platform
        self._witness = witness
        self._receiver = receiver
        self._secret = secret

    async def everything(self, uploads: Sequence[Upload], console: Console, tell: Tell) -> Verdict:
        measured = await self._variants(uploads)
        tell("variants decoded")
        events = {upload.asset_id: await self._ledger.events(upload.asset_id) for upload in uploads}
        await self._await_webhooks(events)
        tell(f"{len(self._receiver.received)} webhooks received")
        print_variants(console, uploads, measured)
        webhooks = 0
        for upload in uploads:
            received = self._receiver.about(upload.asset_id)
            expected = [event.type for event in events[upload.asset_id]]
            webhooks += check_webhooks(self._checks, upload.path.name, received, expected, self._secret)
            await self._follow(upload, events[upload.asset_id], received, console)
        return Verdict(
            assets=sum(upload.asset.state == "ready" for upload in uploads),
            variants=len(measured),
            webhooks=webhooks,
            held=self._checks.held,
            failures=tuple(self._checks.failures),
        )

    async def _variants(self, uploads: Sequence[Upload]) -> dict[tuple[str, str], Measured]:
        measured = {}
        for upload in uploads:
            name, variants = upload.path.name, upload.asset.variants
            source = await measure(await asyncio.to_thread(upload.path.read_bytes))
            check_variants(self._checks, name, upload.stage, variants)
            checks = (
                check_variant(self._checks, name, variant, upload.files[variant.profile], source)
                for variant in variants
            )
            for variant, found in zip(variants, await asyncio.gather(*checks), strict=True):
                if found is not None:
                    measured[str(upload.asset_id), variant.profile] = found
        return measured

    async def _await_webhooks(self, events: dict[UUID, list[EventRow]]) -> None:
        wanted = {asset_id: len(rows) for asset_id, rows in events.items()}

        def all_there(_: Sequence[Received]) -> bool:
            about = self._receiver.about
            return all(len({one.message_id for one in about(a)}) >= count for a, count in wanted.items())

        try:
            await self._receiver.wait_for(all_there, _PATIENCE_S / 6)
        except TimeoutError:
            total = sum(wanted.values())
            self._checks.failed(f"{total} webhooks arrive, {len(self._receiver.received)} did in time")

    async def _follow(
        self, upload: Upload, events: Sequence[EventRow], received: Sequence[Received], console: Console
    ) -> None:
        name = upload.path.name
        outbox = await self._ledger.outbox(upload.asset_id)
        ids = {str(row.id) for row in outbox}
        await asyncio.to_thread(
            self._witness.wait_for, lambda seen: ids <= {record.header(HEADER_ID) for record in seen}, 10.0
        )
        logged = await asyncio.to_thread(logged_traces, self._platform.logs, _process(upload))
        check_trace(
            self._checks,
            name,
            upload.traceparent,
            outbox=outbox,
            witness=self._witness,
            logged=logged,
            received=received,
        )
        jobs = await self._ledger.jobs(upload.asset_id)
        steps = timeline(
            upload.steps, outbox=outbox, jobs=jobs, events=events, witness=self._witness, received=received
        )
        print_timeline(console, upload, steps)


def _process(upload: Upload) -> str:
    return "media-video" if upload.stage.kind == "video" else "media-images"
