"""Fixtures of the end-to-end tests: the whole stack, shared or alone, and a tenant of the test's own."""

import pytest
from support import e2e, hurry

from cli.harness.samples import find_samples, make_clip


@pytest.fixture(scope="session")
def e2e_stack(controller):
    return e2e.whole_stack(controller)


@pytest.fixture
def whole(e2e_stack):
    """The stack beside other tests: leave its parts alone."""
    with e2e.turn(e2e_stack, alone=False):
        yield e2e_stack


@pytest.fixture
def alone(e2e_stack):
    """The stack for this test only: it may kill what it likes."""
    with e2e.turn(e2e_stack, alone=True):
        yield e2e_stack


@pytest.fixture
async def actor(whole):
    async with e2e.actor(whole) as found:
        yield found


@pytest.fixture(scope="session")
def samples():
    return find_samples()


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """Ten seconds of 1080p30: enough work to be killed in the middle of."""
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4").read_bytes()


@pytest.fixture(scope="module")
def crew(e2e_stack):
    """The stack for this module only, its image workers in a hurry: they may be killed as one likes."""
    with e2e.turn(e2e_stack, alone=True), hurry.hurried(e2e_stack) as found:
        yield found


@pytest.fixture
async def owner(crew):
    """A tenant on the module's own stack."""
    async with e2e.actor(crew.stack) as found:
        yield found


@pytest.fixture
def held(tmp_path_factory, samples):
    """Makes photos whose jobs last until the test lets them go on."""

    made = []

    def make(pick=2):
        made.append(hurry.Held(tmp_path_factory.mktemp("held"), samples.photos[pick].read_bytes()))
        return made[-1]

    yield make
    for one in made:
        one.end()
