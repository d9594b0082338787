"""Objects of one byte, for tests of which are there."""

import asyncio
import hashlib


async def put(store, tmp_path, *keys):
    """Store one under each of the keys."""
    path, content = tmp_path / "file", b"x"
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    await asyncio.gather(*(store.put_file(key, path, "image/webp", sha256) for key in keys))
