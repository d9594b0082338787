"""Every reachable interleaving of the protocol's model: nothing happens twice, and an end is always within reach."""

import importlib.util
from collections import defaultdict, deque
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("protocol_model", Path(__file__).with_name("model.py"))
assert spec
assert spec.loader
model = importlib.util.module_from_spec(spec)
spec.loader.exec_module(model)


def explore(next_steps):
    start = model.State()
    seen, todo = {start}, deque([start])
    before = defaultdict(set)
    while todo:
        now = todo.popleft()
        for _, then in next_steps(now):
            before[then].add(now)
            if then not in seen:
                seen.add(then)
                todo.append(then)
    return seen, before


@pytest.fixture(scope="module")
def everything():
    return explore(model.steps)


def wrong(state):
    """What may never be: two ends of a generation, an end that its row does not show, or one after its time."""
    *former, present = state.ends
    over = state.state in model.TERMINAL
    return state.late or any(ends != 1 for ends in former) or present != int(over)


def test_every_generation_ends_at_most_once_in_every_interleaving(everything):
    seen, _ = everything
    assert len(seen) > 10_000, "the search must not have become trivial"
    assert [state for state in seen if wrong(state)] == []


def test_what_is_deleted_stays_as_it_is(everything):
    seen, _ = everything
    for state in seen:
        if state.deleted:
            rows = {then._replace(records=frozenset(), workers=()) for _, then in model.steps(state)}
            assert rows <= {state._replace(records=frozenset(), workers=())}


def test_an_end_is_reachable_from_every_state(everything):
    seen, before = everything
    good = {state for state in seen if state.state in model.TERMINAL}
    todo = deque(good)
    while todo:
        for earlier in before[todo.popleft()] - good:
            good.add(earlier)
            todo.append(earlier)
    assert seen - good == set()


def test_a_good_end_is_reachable_without_anybodys_help(everything):
    """Leaving cancel, delete and replay to nobody, work still gets done: whatever was lost, repeated or killed."""
    seen, before = everything
    good = {state for state in seen if state.state in ("done", "failed")}
    todo = deque(good)
    while todo:
        then = todo.popleft()
        for earlier in before[then] - good:
            if earlier.generation == then.generation and not earlier.deleted:
                good.add(earlier)
                todo.append(earlier)
    # States whose counters ran into the search's own bound cannot go on in the model, only in life.
    stuck = [
        s for s in seen - good
        if s.state not in model.TERMINAL and s.dispatch < model.MAX_DISPATCH and s.epoch < model.MAX_EPOCH
    ]  # fmt: skip
    assert stuck == []


def unfenced_finish(now):
    """A worker ends its job although its epoch is over."""
    for worker in model.WORKERS:
        held = now.workers[worker]
        if held != model.IDLE and held[0] == now.generation and held[1] != now.epoch:
            yield now.ended("done").idle(worker)


def finish_of_a_former_generation(now):
    """A replay that leaves the old row running: its worker ends it long after."""
    for worker in model.WORKERS:
        held = now.workers[worker]
        if held != model.IDLE and held[0] < now.generation:
            yield now._replace(late=True).idle(worker)


def replay_of_what_runs(now):
    """A replay that does not look whether the asset is under way."""
    if now.state == "running" and now.generation < model.MAX_GENERATION:
        yield model.reopened(now)


def cancel_of_what_is_over(now):
    """A cancel that does not look at the state."""
    if now.state == "done":
        yield now.ended("cancelled")


@pytest.mark.parametrize(
    "defect", [unfenced_finish, finish_of_a_former_generation, replay_of_what_runs, cancel_of_what_is_over]
)
def test_the_search_would_see_a_missing_guard(defect):
    def defective(now):
        yield from model.steps(now)
        yield from (("defect", then) for then in defect(now))

    # Bounded: a defect that shows at all shows early.
    start = model.State()
    seen, todo = {start}, deque([start])
    while todo and len(seen) < 500_000:
        for _, then in defective(todo.popleft()):
            if wrong(then):
                return
            if then not in seen:
                seen.add(then)
                todo.append(then)
    raise AssertionError("the defect went unseen")
