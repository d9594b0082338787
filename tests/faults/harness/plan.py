"""What a run will do, all of it from its seed: which files are uploaded for whom, and which faults come when."""

import random
from dataclasses import dataclass

from schemas.profiles import profiles_for
from schemas.states import MediaKind, Stage

TENANTS = 16  # more than partitions, so that every worker has work
WORKERS = ("media-images", "media-images@2", "media-images@3")

FULL = (
    *["kill worker"] * 6, *["stop worker 20 s"] * 2, *["terminate worker"] * 2, *["kill connect in a transaction"] * 2,
    "kill broker", "restart broker", "kill postgres", "restart postgres", "store down 25 s", "network cut 15 s",
    "drop slot", "kill keeper", "kill webhooks",
)  # fmt: skip
SHORT = ("kill worker", "kill connect in a transaction", "kill broker", "kill postgres")
KAFKA_LOSES = ("delete topics", "broker from nothing")
PATIENT = (
    "stop worker 60 s", *["terminate worker"] * 3, "kill worker", "restart broker", *["nothing for 120 s"] * 2,
)  # fmt: skip
# A consumer whose topics went for good ends, to begin anew; nobody else ends by itself, whatever a fault does.
MAY_END = dict.fromkeys(KAFKA_LOSES, (*WORKERS, "media-video", "webhooks"))
CLUSTER = ("kill broker 1 of 3", "kill broker 2 of 3", "kill broker 3 of 3")  # one of them leads the quorum


@dataclass(frozen=True)
class Scenario:
    """`long` jobs take `long_s`, far above the brokers' timeouts, which are short if `hurried`, else a production's.

    `videos` are real ones, encoded by ffmpeg. `transactions`: whether Connect writes in such.
    """

    faults: tuple[str, ...]
    jobs: int
    long: int = 0
    long_s: float = 40.0
    hurried: bool = True
    videos: int = 0
    brokers: int = 1
    transactions: bool = True


SCENARIOS = {
    "full": Scenario(FULL, 520, long=4, videos=6),
    "at-least-once": Scenario(FULL, 520, long=4, videos=6, transactions=False),
    "short": Scenario(SHORT, 60),
    "kafka-loses": Scenario(KAFKA_LOSES, 120, long=1),
    "patient": Scenario(PATIENT, 500, long=4, long_s=600.0, hurried=False, transactions=False),
    "cluster": Scenario(CLUSTER, 120, long=1, brokers=3),
}


@dataclass(frozen=True)
class Upload:
    """One file: whose it is, what kind, and for how long it is worked on (seconds on top of the media work itself).

    `like` is the number of an earlier upload of the same tenant with the same bytes.
    """

    number: int
    tenant: int
    kind: str  # photo, large, video, cut
    seconds: float
    like: int | None = None

    @property
    def expected(self) -> str:
        return "failed" if self.kind == "cut" else "ready"

    @property
    def made(self) -> dict[str, list[str]]:
        """The profiles that must come of it, by stage: all of its kind, since the run's tenants choose none."""
        kind = MediaKind.VIDEO if self.kind == "video" else MediaKind.IMAGE
        stages = [stage for stage in Stage if stage.kind is kind and (stage.primary or self.expected == "ready")]
        return {stage.value: [one.name for one in profiles_for(stage) if self.expected == "ready"] for stage in stages}

    @property
    def codes(self) -> list[str]:
        """What it may fail of."""
        return ["truncated"] if self.kind == "cut" else []


@dataclass(frozen=True)
class Fault:
    """Happens once `after` uploads are accepted; `pick` chooses among targets."""

    kind: str
    after: int
    pick: int


@dataclass(frozen=True)
class Plan:
    uploads: tuple[Upload, ...]
    faults: tuple[Fault, ...]


def make_plan(seed: int, scenario: Scenario, jobs: int | None = None) -> Plan:
    """The same plan for the same seed."""
    chance = random.Random(seed)
    count = jobs or scenario.jobs
    uploads = [_upload(chance, number) for number in range(count)]
    special = chance.sample(range(count // 10, count - count // 10), scenario.long + scenario.videos)
    for index, number in enumerate(special):
        kind, seconds = ("photo", scenario.long_s) if index < scenario.long else ("video", 0.0)
        uploads[number] = Upload(number, uploads[number].tenant, kind, seconds)
    for number in range(20, count, 33):
        twin = next(
            (u for u in uploads[:number][::-1] if u.tenant == uploads[number].tenant and u.kind == "photo"), None
        )
        if twin is not None and number not in special:
            uploads[number] = Upload(
                number, twin.tenant, twin.kind, twin.seconds, like=twin.number if twin.like is None else twin.like
            )
    kinds = list(scenario.faults)
    chance.shuffle(kinds)
    share = count / (len(kinds) + 1)
    faults = [Fault(kind, int(share * (index + 0.5)), chance.randrange(1 << 16)) for index, kind in enumerate(kinds)]
    return Plan(tuple(uploads), tuple(faults))


def _upload(chance: random.Random, number: int) -> Upload:
    kind = chance.choices(("photo", "large", "cut"), (92, 5, 3))[0]
    seconds = 0.05 * 100.0 ** chance.random()  # 0.05 to 5 s, as many below half a second as above
    return Upload(number, chance.randrange(TENANTS), kind, 0.0 if kind == "cut" else round(seconds, 3))
