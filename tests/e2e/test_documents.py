"""The Python example of docs/api.md on the real stack, with nothing of Medialane but a copy of the client's folder."""

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[2]


async def test_the_python_example_uploads_and_downloads_with_a_copy_of_the_client(actor, samples, tmp_path):
    [example] = re.findall(r"(?s)```python\n(.*?)```", (ROOT / "docs/api.md").read_text(encoding="utf-8"))
    shutil.copytree(ROOT / "cli/client", tmp_path / "cli/client")
    (tmp_path / "cli/__init__.py").touch()
    (tmp_path / "example.py").write_text(f"{example}\nimport sys\nprint(*sys.modules)\n", encoding="utf-8")
    shutil.copy(samples.photos[0], tmp_path / "beach.jpg")
    env = {"MEDIALANE_URL": actor.platform.env["MEDIALANE_URL"], "MEDIALANE_API_KEY": actor.tenant.api_key}
    ran = await asyncio.create_subprocess_exec(
        sys.executable, "example.py", cwd=tmp_path, env=os.environ | env,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, complaint = await ran.communicate()
    assert ran.returncode == 0, complaint.decode()
    loaded = {name.partition(".")[0] for name in said.decode().split()}
    assert not loaded & {"api", "connectors", "migrations", "processors", "schemas", "streams"}
    [asset] = (await actor.client.assets(tag="sea")).items
    for variant in (await actor.client.asset(asset.id)).variants:
        assert (tmp_path / variant.profile).stat().st_size == variant.size
