"""Every reachable interleaving of the protocol's model: nothing happens twice, and an end is always within reach."""

import importlib.util
from collections import defaultdict, deque
from pathlib import Path

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


def test_at_most_one_effect_in_every_interleaving():
    seen, _ = explore(model.steps)
    assert len(seen) > 2000, "the search must not have become trivial"
    assert max(state.effects for state in seen) == 1
    assert all(state.effects == (state.state in ("done", "failed")) for state in seen)


def test_an_end_is_reachable_from_every_state():
    seen, before = explore(model.steps)
    good = {state for state in seen if state.state in model.TERMINAL}
    todo = deque(good)
    while todo:
        for earlier in before[todo.popleft()] - good:
            good.add(earlier)
            todo.append(earlier)
    # States whose counters ran into the search's own bound cannot go on in the model, only in life.
    stuck = [s for s in seen - good if s.dispatch < model.MAX_DISPATCH and s.epoch < model.MAX_EPOCH]
    assert stuck == []


def test_the_search_would_see_a_missing_fence():
    def unfenced(now):
        yield from model.steps(now)
        for worker in model.WORKERS:
            if now.workers[worker] and now.workers[worker] != now.epoch:
                yield "zombie finish", now.idle(worker)._replace(state="done", effects=now.effects + 1)

    seen, _ = explore(unfenced)
    assert max(state.effects for state in seen) > 1
