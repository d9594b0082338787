"""What takes finished work is away for a moment: the work waits for it, and is not done again."""

import pytest

PATIENCE_S = 120
PROFILES = ["poster", "preview", "video_720p"]


@pytest.mark.parametrize("trouble", [{"refused": 4}, {"lose_answer": True}], ids=["store", "database"])
async def test_a_job_keeps_what_it_made(job, trouble):
    assert job.start("video.primary", **trouble).wait(PATIENCE_S) == 0
    [(state, epoch, attempts)] = job.rows("SELECT state, epoch, attempts FROM jobs WHERE asset_id = %s AND stage = %s",
                                          job.asset_id, "video.primary")  # fmt: skip
    assert (state, epoch, attempts) == ("done", 1, 0), "claimed once, and done by that claim"
    told = job.rows("SELECT subject FROM asset_events WHERE asset_id = %s AND type = 'variant.ready'", job.asset_id)
    assert sorted(subject for (subject,) in told) == PROFILES
    assert job.objects() == set(await job.named())
