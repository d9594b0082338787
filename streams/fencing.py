"""Static membership: notice that another process has taken this one's name in the consumer group, and let it have it.

aiokafka's heartbeats and commits do not carry the name, so the broker cannot tell who was replaced: they learn that
their member is unknown, as after an expired session, and join again. Two processes of one name would take it from each
other for ever. So before a member joins again it asks with its name.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.group import HeartbeatResponse_v1, JoinGroupRequest
from aiokafka.protocol.types import Int32, Schema, String

log = structlog.get_logger(__name__)

_FENCED_INSTANCE_ID = 82


class _NamedResponse(Response):  # type: ignore[misc]
    API_KEY = 12
    API_VERSION = 3
    SCHEMA = HeartbeatResponse_v1.SCHEMA


class _NamedHeartbeat(RequestStruct):  # type: ignore[misc]
    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = _NamedResponse
    SCHEMA = Schema(
        ("group", String("utf-8")), ("generation_id", Int32), ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )  # fmt: skip


class _Heartbeat(Request[_NamedHeartbeat]):  # type: ignore[misc]
    API_KEY = 12

    def __init__(self, *fields: Any) -> None:
        self._fields = fields

    def build(self, request_struct_class: type[_NamedHeartbeat]) -> _NamedHeartbeat:
        return request_struct_class(*self._fields)


def guard(coordinator: Any, name: str, on_fenced: Callable[[], object]) -> None:
    """Have aiokafka's group coordinator call `on_fenced`, and never join again, once another member has its `name`."""
    join = coordinator._do_rejoin_group  # noqa: SLF001
    member_id, generation = "", -1

    async def join_unless_fenced(subscription: Any) -> bool:
        nonlocal member_id, generation
        forgotten = coordinator.member_id == JoinGroupRequest.UNKNOWN_MEMBER_ID
        if forgotten and member_id:
            answer = await coordinator._send_req(  # noqa: SLF001
                _Heartbeat(coordinator.group_id, generation, member_id, name)
            )
            if answer.error_code == _FENCED_INSTANCE_ID:
                log.error("another process has joined the group under this one's name", instance_id=name)
                on_fenced()
                await asyncio.wait([coordinator._closing])  # noqa: SLF001 - set when the consumer is stopped
                return False
        joined: bool = await join(subscription)
        if coordinator.member_id != JoinGroupRequest.UNKNOWN_MEMBER_ID:
            member_id, generation = coordinator.member_id, coordinator.generation
        return joined

    coordinator._do_rejoin_group = join_unless_fenced  # noqa: SLF001
