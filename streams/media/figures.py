"""What a job's end adds to the metrics: outcome, time to ready, the time of every step and variant."""

from collections.abc import Mapping
from typing import Any

from connectors.postgres.protocol.jobs import ClaimedJob
from connectors.telemetry.metrics import Metrics
from schemas.errors import ErrorCode, MedialaneError
from schemas.metrics import (
    ASSET_READY_DURATION,
    CHILD_DEATHS,
    DLQ_MESSAGES,
    JOBS_FINISHED,
    STAGE_DURATION,
    VARIANT_DURATION,
    VARIANT_FAILURES,
)
from schemas.profiles import CATALOGUE, profiles_for
from schemas.topics import job_topic

# With these codes a child was killed, or died by itself.
_DEADLY = (ErrorCode.CHILD_DIED, ErrorCode.PROCESSING_TIMEOUT, ErrorCode.LIMIT_EXCEEDED)


class JobFigures:
    """Counts jobs. A report is that of `Work.report`: its steps named after a profile are that variant's time."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def done(self, job: ClaimedJob, report: Mapping[str, Any], *, worked_s: float) -> None:
        """The job's variants are all there, so long after its claim."""
        self._metrics.counter(JOBS_FINISHED, job.stage, "done", "none").inc()
        # Later generations come of no upload: whoever reprocesses does not wait for the answer.
        if job.stage.primary and job.generation == 1:
            # Not from its dispatch: waiting for credit, retries and dead workers are part of what the uploader waits.
            seconds = (job.claimed_at - job.created_at).total_seconds() + worked_s  # no two clocks are compared
            self._metrics.histogram(ASSET_READY_DURATION, job.stage.kind).observe(seconds)
        self._steps(job, report)
        for step in report["stages"]:
            if step["name"] in CATALOGUE:
                self._metrics.histogram(VARIANT_DURATION, step["name"]).observe(step["seconds"])

    def failed_attempt(self, job: ClaimedJob, error: MedialaneError) -> None:
        """An attempt ended in an error, whatever comes of the job."""
        if error.code in _DEADLY:
            self._metrics.counter(CHILD_DEATHS, error.code).inc()
        for profile in profiles_for(job.stage):
            self._metrics.counter(VARIANT_FAILURES, profile.name, error.code).inc()

    def given_up(self, job: ClaimedJob, report: Mapping[str, Any], error: MedialaneError) -> None:
        """The job is a dead letter now."""
        self._metrics.counter(JOBS_FINISHED, job.stage, "failed", error.error_class).inc()
        self._metrics.counter(DLQ_MESSAGES, job_topic(job.stage).route, error.code).inc()
        self._steps(job, report)

    def _steps(self, job: ClaimedJob, report: Mapping[str, Any]) -> None:
        for step in report["stages"]:
            self._metrics.histogram(STAGE_DURATION, job.stage, step["name"]).observe(step["seconds"])
