"""What counts as a takeover: a claim by somebody else, which raises the job's epoch, and nothing that came before it."""

import time

from harness.takeover import taken_over


class Rows:
    """Answers like a bed whose table changes from one look to the next."""

    def __init__(self, *looks):
        self._looks = list(looks)

    async def rows(self, query, ids):
        now = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        return [{"id": name, "state": state, "epoch": epoch} for name, state, epoch in now if name in ids]


async def test_a_job_that_ended_before_the_kill_was_not_taken_over():
    bed = Rows([("ended", "done", 1), ("failed", "waiting", 1)])
    found = await taken_over(bed, {"ended": 1, "failed": 1}, time.time())
    assert found == ([], [])


async def test_an_orphan_is_offered_and_then_taken():
    bed = Rows([("a", "running", 1)], [("a", "queued", 1)], [("a", "running", 2)])
    found = await taken_over(bed, {"a": 1}, time.time())
    assert (len(found.offered), len(found.claimed)) == (1, 1)


async def test_whoever_has_done_it_since_took_it_over():
    bed = Rows([("a", "done", 2)])
    assert len((await taken_over(bed, {"a": 1}, time.time())).claimed) == 1
