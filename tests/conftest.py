"""Fixtures that every test may use: one real stack per run, and parts of it that are a module's own."""

import os
import sys
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

sys.path.insert(0, str(Path(__file__).parent))  # for `support`: tests are not a package

from support import stack as shared

# The end-to-end tests would queue for their one stack on two workers; those of consumers are few per file, and long.
TOGETHER = ("tests/e2e/", "tests/integration/streams/")


class Files(LoadFileScheduling):
    """A file stays on one worker, and so does a folder of `TOGETHER`: the largest groups begin first, so that what
    takes long runs beside everything else instead of after it.
    """

    def _split_scope(self, nodeid):
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Ours, unless another way to spread the tests was asked for."""
    return Files(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """Tell a worker which process leads the run: the stack lives exactly as long as that one."""
    node.workerinput["controller"] = os.getpid()


def pytest_sessionfinish(session):
    """The controller finishes last: only it stops the run's stack."""
    if not hasattr(session.config, "workerinput"):
        shared.release(shared.runs_own(os.getpid()))


@pytest.fixture(scope="session")
def controller(request):
    """The process that leads this run: pytest itself, or xdist's controller."""
    return getattr(request.config, "workerinput", {}).get("controller", os.getpid())


@pytest.fixture(scope="session")
def postgres_stack(controller):
    """The run's stack, of which only Postgres is sure to run: for tests that need no more."""
    return shared.acquire(shared.folder_for(controller), controller, ("postgres",))


@pytest.fixture(scope="session")
def s3_stack(controller):
    """The run's stack, of which only the S3 server is sure to run."""
    return shared.acquire(shared.folder_for(controller), controller, ("s3",))


@pytest.fixture(scope="session")
def stack(controller):
    """The run's stack: Postgres, Kafka, Connect and the S3 server (a `cli.stack.Stack`)."""
    return shared.acquire(shared.folder_for(controller), controller, ("postgres", "kafka", "connect", "s3"))


@pytest.fixture(scope="module")
def database(postgres_stack):
    """A migrated database of this module's own: `.owner`, `.app`, `.worker`, `.replication` addresses."""
    with shared.fresh_database(postgres_stack) as found:
        yield found


@pytest.fixture(scope="module")
def bucket(s3_stack):
    """`ObjectStoreSettings` of a bucket of this module's own."""
    with shared.fresh_bucket(s3_stack) as found:
        yield found


@pytest.fixture(scope="module")
def kafka(stack):
    """`KafkaSettings` with a topic prefix of this module's own; its topics exist."""
    with shared.fresh_topics(stack) as found:
        yield found


@pytest.fixture(scope="module")
def topic_prefix(kafka):
    """The first part of this module's topics' names."""
    return kafka.topic_prefix
