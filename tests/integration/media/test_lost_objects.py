"""Objects that rows name are gone from the store: whoever uploads the same bytes again gets variants that are there."""

import json
from uuid import uuid4

import msgspec
from support import api, commands

from streams.bucket import MARK

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


async def test_operators_find_what_is_gone_and_have_it_made_again(job, clip, database, bucket):
    for stage in ("video.primary", "video.ladder"):
        assert job.start(stage).wait(PATIENCE_S) == 0
    second = await job.again(clip)
    for stage in ("video.primary", "video.ladder"):
        assert second.start(stage).wait(PATIENCE_S) == 0
    env = api.environment(database, bucket) | {"MEDIALANE_DATABASE_URL": database.worker}
    [(slug,)] = job.rows("SELECT slug FROM tenants WHERE id = %s", job.tenant_id)

    def medialane(*arguments):
        ran = commands.medialane(env, *arguments, "--tenant", slug)
        return ran.returncode, ran.stdout, ran.stderr

    def profiles(asset_id):
        return {name for (name,) in job.rows("SELECT profile FROM variants WHERE asset_id = %s", asset_id)}

    job.s3().put_object(Bucket=bucket.bucket, Key=MARK, Body=str(uuid4()).encode())
    code, told, errors = medialane("assets", "verify", "--json")
    assert (code, told) == (1, "")
    assert "This bucket is not this installation's" in errors
    job.s3().delete_object(Bucket=bucket.bucket, Key=MARK)

    assert medialane("assets", "verify", "--json") == (0, "[]\n", "")
    [poster], [ladder] = keys(job, "poster"), keys(job, "hls")
    [source] = [key for (key,) in job.rows("SELECT object_key FROM assets WHERE id = %s", second.asset_id)]
    for key in (poster, ladder.replace("hls.m3u8", "240p.mp4"), source):
        job.s3().delete_object(Bucket=bucket.bucket, Key=key)
    whole = profiles(job.asset_id)

    code, told, errors = medialane("assets", "verify")
    assert (code, len(told.splitlines())) == (1, 4)
    assert "say --apply" in errors
    code, told, _ = medialane("assets", "verify", "--json", "--since", "2100-01-01")
    assert (code, json.loads(told)) == (0, [])
    assert profiles(job.asset_id) == profiles(second.asset_id) == whole
    code, told, _ = medialane("assets", "verify", "--json", "--apply")
    gone = {(one["asset_id"], one["profile"]): (one["source"], one["forgotten"]) for one in json.loads(told)}
    assert (code, gone) == (
        1,
        {
            (str(asset.asset_id), profile): (whether, whether)
            for asset, whether in ((job, True), (second, False))
            for profile in ("poster", "hls")
        },
    )
    assert profiles(job.asset_id) == whole - {"poster", "hls"}
    assert profiles(second.asset_id) == whole, "of what could it be made?"
    noted = job.rows(
        "SELECT subject, detail FROM audit_log WHERE action = 'assets.verify' AND tenant_id = %s", job.tenant_id
    )
    assert [(subject, set(detail["keys"])) for subject, detail in noted] == [(str(job.asset_id), {poster, ladder})]

    code, told, errors = medialane("reprocess", "--profile", "poster", "--since", "1d")
    assert (code, told) == (0, "reprocessing 1 assets, left alone 0\n"), errors
    for stage in ("video.primary", "video.ladder"):
        assert job.start(stage).wait(PATIENCE_S) == 0
    assert profiles(job.asset_id) == whole
    assert {poster, *keys(job, "hls")} <= job.objects()
    # The other's poster stands under the same key. Its ladder does if the new one came out the same, byte for byte.
    _, told, _ = medialane("assets", "verify", "--json")
    assert {one["asset_id"] for one in json.loads(told)} <= {str(second.asset_id)}


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
