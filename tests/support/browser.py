"""A page of another origin in a real browser: headless Chromium, driven by Playwright, on a page that is served here.

Chromium is Debian's: Playwright's own builds come from no registry.
"""

import base64
import hashlib
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from aiohttp import web
from playwright.async_api import Page, async_playwright

PROGRAM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
"""None where there is none: `make browser` installs it."""


@dataclass(frozen=True)
class Site:
    """An open page and its origin; `log` is what the browser's console said."""

    page: Page
    origin: str
    log: list[str]

    async def choose(self, content: bytes, name: str, content_type: str) -> None:
        """What a user does with the page's file input."""
        chosen = {"name": name, "mimeType": content_type, "buffer": content}
        await self.page.locator("input[type=file]").set_input_files(chosen)


@asynccontextmanager
async def site(pages: Path, name: str = "index.html", *, extra: Path | None = None) -> AsyncIterator[Site]:
    """A page of a folder, opened in a browser of its own; the folder `extra` is served under `/extra`.

    The page is at `localhost`, the services at 127.0.0.1: not even the same site, for a browser.
    """
    app = web.Application()
    if extra is not None:
        app.router.add_static("/extra", extra)
    app.router.add_static("/", pages)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        listening = web.TCPSite(runner, "127.0.0.1", 0)
        await listening.start()
        origin = f"http://localhost:{runner.addresses[0][1]}"
        # No sandbox: root, which a container's tests are, gets none, and only our own page is opened.
        async with (
            async_playwright() as playwright,
            await playwright.chromium.launch(executable_path=PROGRAM, chromium_sandbox=False) as browser,
        ):
            page = await browser.new_page()
            log: list[str] = []
            page.on("console", lambda message: log.append(message.text))
            page.on("pageerror", lambda error: log.append(str(error)))
            await page.goto(f"{origin}/{name}")
            yield Site(page, origin, log)
    finally:
        await runner.cleanup()


class Packed(NamedTuple):
    """A package of npm's: name, version, and the SHA-512 (base64) that its registry has signed for."""

    name: str
    version: str
    sha512: str


def unpack(package: Packed, folder: Path) -> Path:
    """Fetch a package by npm, without what it depends on, and check it; returns its folder."""
    spec = f"{package.name}@{package.version}"
    folder.mkdir(parents=True)
    subprocess.run(["npm", "pack", "--silent", spec], cwd=folder, check=True, timeout=120)
    (archive,) = folder.glob("*.tgz")
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    assert found == package.sha512, f"{spec} is not what it was"
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / "package"
