"""The plan of a fault run: all of it from its seed, and as hard as it is meant to be."""

import pytest
from harness.plan import SCENARIOS, Upload, make_plan


@pytest.mark.parametrize("seed", [1, 2, 3, 77])
def test_a_full_run_has_what_it_promises(seed):
    scenario = SCENARIOS["full"]
    plan = make_plan(seed, scenario)
    assert plan == make_plan(seed, scenario)
    assert plan != make_plan(seed + 1, scenario)
    assert len(plan.uploads) >= 500
    assert [upload.number for upload in plan.uploads] == list(range(len(plan.uploads)))
    assert sum(upload.seconds == 40.0 for upload in plan.uploads) >= scenario.long
    assert sum(upload.kind == "video" for upload in plan.uploads) == scenario.videos
    assert all(0 <= upload.seconds <= 5 or upload.seconds == 40 for upload in plan.uploads)
    twins = [upload for upload in plan.uploads if upload.like is not None]
    assert twins
    for twin in twins:
        first = plan.uploads[twin.like]
        assert first.like is None
        assert (first.tenant, first.kind, first.seconds) == (twin.tenant, twin.kind, twin.seconds)
    assert sorted(fault.kind for fault in plan.faults) == sorted(scenario.faults)
    assert [fault.after for fault in plan.faults] == sorted(fault.after for fault in plan.faults)
    assert plan.faults[-1].after < len(plan.uploads)


def test_what_must_come_of_an_upload():
    photo, cut, video = (Upload(0, 0, kind, 0.0) for kind in ("photo", "cut", "video"))
    assert sorted(map(len, photo.made.values())) == [3, 4]
    assert photo.made.keys() == {"image.primary", "image.avif"}
    assert video.made.keys() == {"video.primary", "video.ladder"}
    assert (cut.made, cut.codes) == ({"image.primary": []}, ["truncated"])
