"""Real files, and one pool of real children for all tests here, behind a blocking face."""

import asyncio
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from PIL import Image

from processors.contract import Source
from processors.pool import MediaPool
from schemas.profiles import profiles_for
from schemas.settings import ProcessorSettings
from schemas.states import Stage

SAMPLES = Path("/usr/share/forensics-samples/original-files")


class Bench:
    """A pool in an event loop of its own thread; `run` blocks."""

    def __init__(self, settings=None, workers=1):
        self._temp = tempfile.TemporaryDirectory()
        self.folder = Path(self._temp.name)
        self.pool = MediaPool(settings or ProcessorSettings(), workers=workers, folder=self.folder)
        self.pool.start()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def submit(self, path, workdir, stage=Stage.IMAGE_PRIMARY, profiles=None, but=(), **more):
        source = Source(str(path), Path(path).stat().st_size, "image/jpeg", "client's name.jpg")
        chosen = profiles_for(stage) if profiles is None else profiles
        chosen = [profile for profile in chosen if profile.name not in but]
        job = self.pool.process(stage, source, Path(workdir), chosen, **more)
        return asyncio.run_coroutine_threadsafe(job, self.loop)

    def run(self, path, workdir, stage=Stage.IMAGE_PRIMARY, profiles=None, **more):
        renditions, report = self.submit(path, workdir, stage, profiles, **more).result(120)
        return {rendition.profile: rendition for rendition in renditions}, report

    def close(self, timeout=0.0):
        asyncio.run_coroutine_threadsafe(self.pool.close(timeout), self.loop).result(30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
        self._temp.cleanup()


@pytest.fixture(scope="session")
def bench():
    # Never replaced by count: the tests tell by its process id whether a child has died.
    made = Bench(ProcessorSettings(jobs_per_child=1_000_000))
    yield made
    made.close()


@pytest.fixture(scope="session")
def warm(bench, tmp_path_factory):
    """The pool after a first job, its one child known by its number."""
    folder = tmp_path_factory.mktemp("warm")
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    bench.run(folder / "a.png", folder)
    return bench


@pytest.fixture
def make_bench():
    made = []

    def make(workers=1, **settings):
        made.append(Bench(ProcessorSettings(**settings), workers))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def samples():
    assert SAMPLES.is_dir(), "install Debian's forensics-samples-files: the tests work on its real photos and videos"
    return SAMPLES


@pytest.fixture(scope="session")
def photo(samples):
    """4000x3000, 6 MB, from a phone."""
    return samples / "pic2/IMG_20191224_234846.jpg"


@pytest.fixture(scope="session")
def make_video(tmp_path_factory):
    """Makes (once per set of arguments) a small clip with ffmpeg: `make_video(seconds, size, name, *output options)`."""
    folder, made = tmp_path_factory.mktemp("videos"), {}

    def make(*options, seconds=1.0, size="320x240", rate=25, name="a.mp4", source="testsrc2", sound=False):
        key = (options, seconds, size, rate, name, source, sound)
        if key not in made:
            path = folder / f"{len(made)}-{name}"
            pictures = ["-f", "lavfi", "-i", f"{source}=size={size}:rate={rate}:duration={seconds}"]
            tone = ["-f", "lavfi", "-i", f"sine=duration={seconds}"] if sound else []
            preset = (
                ["-preset", "ultrafast"] if "-c:v" not in options and path.suffix in {".mp4", ".mov", ".mkv"} else []
            )
            command = [
                "ffmpeg",
                "-nostdin",
                "-v",
                "error",
                *pictures,
                *tone,
                "-pix_fmt",
                "yuv420p",
                *preset,
                *options,
                path,
            ]
            subprocess.run(command, check=True)
            made[key] = path
        return made[key]

    return make


@pytest.fixture(scope="session")
def long_video(make_video, tmp_path_factory):
    """Takes minutes of CPU to process, and is made in two seconds: one clip, repeated."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    clip = make_video("-g", "12", size="1280x720", seconds=2, rate=30)
    command = ["ffmpeg", "-nostdin", "-v", "error", "-stream_loop", "100", "-i", clip, "-c", "copy", path]
    subprocess.run(command, check=True)
    return path


WORKER = """
import asyncio, sys
from pathlib import Path
from processors.contract import Source
from processors.pool import MediaPool
from schemas.profiles import profiles_for
from schemas.settings import ProcessorSettings
from schemas.states import Stage

path, workdir, stage, around = sys.argv[1:]
pool = MediaPool(ProcessorSettings(around=around or None), workers=2, folder=Path(workdir))
pool.start()
stage = Stage(stage)
asyncio.run(pool.process(stage, Source(path, 1, "", ""), Path(workdir), profiles_for(stage)))
"""


@pytest.fixture
def start_worker():
    """Start a process with a pool of two children, one of which works on a file; for tests that kill it."""

    def start(path, workdir, stage, around=""):
        return subprocess.Popen([sys.executable, "-c", WORKER, path, workdir, stage.value, around])

    return start


@pytest.fixture
def children(monkeypatch):
    """Children find the modules that a test has them run `around` their jobs."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "children"))


@pytest.fixture(scope="session")
def ffprobe():
    """Streams of a file, by type."""

    def ask(path):
        import json

        command = [
            "ffprobe",
            "-v",
            "error",
            "-print_format",
            "json",
            "-show_streams",
            "-show_format",
            "-show_chapters",
            path,
        ]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return {stream["codec_type"]: stream for stream in found["streams"]} | {"format": found["format"]}

    return ask


@pytest.fixture(autouse=True, scope="session")
def tools():
    missing = [tool for tool in ("ffmpeg", "ffprobe", "setpriv") if not shutil.which(tool)]
    assert not missing, f"not installed: {missing}"
