"""Process one file by hand: `python -m processors FILE --out DIR` prints what was made and what it cost."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from processors.contract import MediaError, Source
from processors.pool import MediaPool
from processors.sniff import sniff
from schemas.profiles import profiles_for
from schemas.settings import ProcessorSettings
from schemas.states import PRIMARY_STAGE, Stage


async def _process(pool: MediaPool, stage: Stage, source: Source, out: Path) -> None:
    try:
        renditions, report = await pool.process(stage, source, out, profiles_for(stage))
    finally:
        await pool.close(0)
    for made in renditions:
        sys.stdout.write(f"{made.profile:15} {made.width}x{made.height} {made.size} bytes  {made.path}\n")
    sys.stdout.write(f"{report}\n")


def main() -> int:
    """Exit status 0 if every variant was made, 1 with the reason otherwise."""
    parser = argparse.ArgumentParser(prog="python -m processors", description=__doc__)
    parser.add_argument("file", type=Path)
    stages = [stage.value for stage in Stage]
    parser.add_argument("--stage", choices=stages, help="the stage to run; the primary one of the file's kind if unset")
    parser.add_argument("--out", type=Path, required=True, help="folder for the variants; made if it is not there")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.file.resolve()
    try:
        stage = Stage(arguments.stage) if arguments.stage else PRIMARY_STAGE[sniff(file).kind]
        source = Source(str(file), file.stat().st_size, "", file.name)
        with tempfile.TemporaryDirectory() as folder:
            pool = MediaPool(ProcessorSettings(), workers=1, folder=Path(folder))
            pool.start()
            asyncio.run(_process(pool, stage, source, arguments.out.resolve()))
    except MediaError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
