"""The files of a run: a phone's photos at several sizes, each in bytes of its own, with its pace at the end."""

import io
import tempfile
from pathlib import Path

from PIL import Image

from cli.harness.samples import find_samples
from harness.plan import Upload

SMALL, LARGE = 480, 2000  # pixels of the longer side


class Files:
    """Makes the bytes of an upload; the same for the same upload, and of the run's own."""

    def __init__(self, seed: int, videos: bool) -> None:
        self._seed = seed
        samples = find_samples()
        self._photos = {side: [_scaled(path, side) for path in samples.photos] for side in (SMALL, LARGE)}
        self._video = samples.video.read_bytes() if videos else b""

    def make(self, upload: Upload) -> tuple[str, str, bytes]:
        """File name, content type, bytes."""
        identity = upload.number if upload.like is None else upload.like
        mark = f"medialane faults seed={self._seed} number={identity} pace={upload.seconds};".encode()
        if upload.kind == "video":
            free = (len(mark) + 8).to_bytes(4, "big") + b"free" + mark  # a box that players skip
            return f"{upload.number}.mp4", "video/mp4", self._video + free
        side = LARGE if upload.kind == "large" else SMALL
        photo = self._photos[side][identity % len(self._photos[side])]
        if upload.kind == "cut":
            photo = photo[: len(photo) // 2]
        return f"{upload.number}.jpg", "image/jpeg", photo + mark


def _scaled(path: Path, side: int) -> bytes:
    with Image.open(path) as photo:
        photo.thumbnail((side, side))
        made = io.BytesIO()
        photo.convert("RGB").save(made, "JPEG", quality=85)
    return made.getvalue()


def temporary_folder() -> Path:
    """A folder that Postgres' user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="medialane-faults-"))
    folder.chmod(0o755)
    return folder
