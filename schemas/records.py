"""What Kafka records look like: the dispatch of a job, and the headers that every record carries."""

from typing import Annotated, NamedTuple
from uuid import UUID

import msgspec

from schemas.states import Stage

# CloudEvents attributes in binary mode, placed by the connector from the outbox row's columns.
HEADER_ID = "ce_id"
HEADER_TYPE = "ce_type"
HEADER_SUBJECT = "ce_subject"
HEADER_TENANT = "ce_tenantid"
HEADER_SEQ = "ce_seq"
HEADER_SOURCE = "ce_source"
HEADER_SPEC_VERSION = "ce_specversion"
HEADER_TRACEPARENT = "traceparent"

DISPATCH_TYPE = "job.dispatch"
DEAD_LETTER_TYPE = "job.dead"
CANARY_TYPE = "canary"


class Dispatch(msgspec.Struct, frozen=True, kw_only=True):
    """A record in `media.jobs.*`: an offer to claim a job, never the job itself.

    `dispatch` is the row's counter at emission: a claim succeeds only while the row still has it. A number that no row
    can have makes the record undecodable: the claim's statement would fail of it, again and again.
    """

    job_id: UUID
    tenant_id: UUID
    asset_id: UUID
    stage: Stage
    dispatch: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    v: int = 1


class Origin(NamedTuple):
    """The Kafka record that a job was claimed by, and the group that read it: a dead letter names it."""

    topic: str
    partition: int
    offset: int
    group: str


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A record in `media.jobs.dlq` for a job that was given up (written through the outbox)."""

    dead_letter_id: UUID
    job_id: UUID
    tenant_id: UUID
    asset_id: UUID
    stage: Stage
    generation: int
    code: str
    detail: str
    attempts: int
    deaths: int
    v: int = 1
