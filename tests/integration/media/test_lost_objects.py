"""Objects that rows name are gone from the store: whoever uploads the same bytes again gets variants that are there."""

import msgspec

PATIENCE_S = 120


def made(job, stage):
    """What the stage's job said at its end: whether all was there already, and the steps that it took."""
    [(state, attempts, report)] = job.rows(
        "SELECT state, attempts, report FROM jobs WHERE asset_id = %s AND stage = %s", job.asset_id, stage
    )
    assert (state, attempts) == ("done", 0)
    [(payload,)] = job.rows(
        "SELECT payload FROM asset_events WHERE asset_id = %s AND type = 'job.done' AND payload LIKE %s",
        job.asset_id, f"%{stage}%",
    )  # fmt: skip
    return msgspec.json.decode(payload)["reused"], {step["name"] for step in report["stages"]}


def keys(job, *profiles):
    found = job.rows(
        "SELECT object_key FROM variants WHERE asset_id = %s AND profile = ANY(%s)", job.asset_id, list(profiles)
    )
    return [key for (key,) in found]


async def test_what_is_gone_is_made_again_and_only_that(job, clip):
    assert job.start("video.primary").wait(PATIENCE_S) == 0
    whole = job.objects()
    for key in keys(job, "poster", "video_720p"):
        job.s3().delete_object(Bucket=job.bucket.bucket, Key=key)
    left = job.objects()
    assert len(left) == 1

    second = await job.again(clip)
    assert second.start("video.primary").wait(PATIENCE_S) == 0
    reused, steps = made(second, "video.primary")
    assert not reused
    assert "process" in steps
    assert job.objects() == whole == set(await job.named())
    new = job.rows("SELECT profile FROM variants WHERE asset_id = %s", second.asset_id)
    assert sorted(profile for (profile,) in new) == ["poster", "preview", "video_720p"]

    third = await job.again(clip)
    assert third.start("video.primary").wait(PATIENCE_S) == 0
    reused, steps = made(third, "video.primary")
    assert reused
    assert "process" not in steps, "the same bytes cost no processing"


async def test_a_ladder_that_lacks_one_of_its_files_is_made_again(job, clip):
    for stage in ("video.primary", "video.ladder"):
        assert job.start(stage).wait(PATIENCE_S) == 0
    [ladder] = keys(job, "hls")
    job.s3().delete_object(Bucket=job.bucket.bucket, Key=ladder.replace("hls.m3u8", "240p.m3u8"))

    second = await job.again(clip)
    for stage in ("video.primary", "video.ladder"):
        assert second.start(stage).wait(PATIENCE_S) == 0
    assert made(second, "video.primary")[0]
    assert not made(second, "video.ladder")[0]
    [(parts,)] = job.rows("SELECT parts FROM variants WHERE asset_id = %s AND profile = 'hls'", second.asset_id)
    [folder] = [key.removesuffix("hls.m3u8") for key in keys(second, "hls")]
    assert {folder + part["name"] for part in parts} | {folder + "hls.m3u8"} <= job.objects()
