"""Reading dispatches: what a record of a job topic is, and what is done with one that is none."""

from typing import NamedTuple
from uuid import UUID

import msgspec

from schemas.records import Dispatch
from schemas.states import Stage
from schemas.topics import job_topic
from streams.dead_letters import Undecodable
from streams.faust_app import Record

VERSION = 1
"""The newest dispatch that this release understands."""


class Offer(NamedTuple):
    """A dispatch that may be claimed."""

    dispatch: Dispatch
    record: Record


class Foreign(NamedTuple):
    """A dispatch that is not for this worker: of a newer release, or on another stage's topic. Its row owns the work,
    and the keeper emits it again until a worker that understands it has claimed it.
    """

    reason: str
    record: Record


class _AnyVersion(msgspec.Struct, frozen=True):
    job_id: UUID
    tenant_id: UUID
    stage: str
    v: int = 1


_any_version = msgspec.json.Decoder(_AnyVersion)
_dispatch = msgspec.json.Decoder(Dispatch)


def read(record: Record, route: str) -> Offer | Foreign | Undecodable:
    """Tell what the record is; `route` is that of the topic it came from. Never raises."""
    if record.value is None:
        return Undecodable("the record has no value", record)
    try:
        header = _any_version.decode(record.value)
        if header.v > VERSION:
            return Foreign(f"version {header.v}, newer than {VERSION}", record)
        if header.stage not in Stage.__members__.values():
            return Foreign(f"unknown stage {header.stage}", record)
        dispatch = _dispatch.decode(record.value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Undecodable(str(error), record)
    if job_topic(dispatch.stage).route != route:
        return Foreign(f"stage {dispatch.stage} does not belong here", record)
    return Offer(dispatch, record)
