"""A mix of jobs that never were, declared in a TOML file: who makes how many, and what each costs."""

import random
import tomllib
from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.states import JobClass
from streams.simulation.model import Job

EXAMPLE = """\
duration_s = 60

[[tenants]]
name = "bulk"
burst = 2000          # jobs made at once, at the beginning
seconds = 0.5         # how long each holds a slot, on average
cpu_s = 0.45          # CPU seconds of each, on average; `seconds` unless given
partitions = [0]      # one per bucket; by the hash of the name unless given
class = "primary"     # or secondary, or bulk as `reprocess` makes them: these take what primary ones leave

[[tenants]]
name = "steady"
per_s = 1.5           # jobs made per second, at random moments, while the mix lasts
seconds = 0.5
"""

_Positive = Annotated[float, Meta(gt=0)]


class MixError(Exception):
    """A file that is no mix; the message says why."""


class MixTenant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"job_class": "class"}):
    """One tenant of a mix; it may be named again for its jobs of another class."""

    name: str
    seconds: _Positive
    cpu_s: _Positive | None = None
    burst: Annotated[int, Meta(ge=0)] = 0
    per_s: Annotated[float, Meta(ge=0)] = 0.0
    partitions: tuple[Annotated[int, Meta(ge=0)], ...] = ()
    job_class: JobClass = JobClass.PRIMARY


class Mix(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mix: its tenants, and for how long they make jobs."""

    duration_s: _Positive
    tenants: Annotated[tuple[MixTenant, ...], Meta(min_length=1)]


def read_mix(text: str) -> Mix:
    """The mix of a file. Raises `MixError`."""
    try:
        return msgspec.convert(tomllib.loads(text), Mix)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise MixError(str(error)) from error


def jobs_of(mix: Mix, *, seed: int = 1) -> list[Job]:
    """The jobs of a mix, the same for the same seed. Lengths are exponential around their mean."""
    source = random.Random(seed)  # noqa: S311 - repeatable on purpose
    return [
        _job(tenant, at, source)
        for tenant in mix.tenants
        for at in (*(0.0 for _ in range(tenant.burst)), *_moments(tenant.per_s, mix.duration_s, source))
    ]


def _moments(per_s: float, duration_s: float, source: random.Random) -> Iterator[float]:
    at = source.expovariate(per_s) if per_s > 0 else duration_s
    while at < duration_s:
        yield at
        at += source.expovariate(per_s)


def _job(tenant: MixTenant, at: float, source: random.Random) -> Job:
    factor = source.expovariate(1.0)
    held_s = tenant.seconds * factor
    cpu_s = held_s if tenant.cpu_s is None else tenant.cpu_s * factor
    return Job(tenant.name, at, held_s, cpu_s, spread=source.getrandbits(28), job_class=tenant.job_class)
