"""Helper processes end with whoever started them, however that one ends: their standard input is then at its end."""

import asyncio
import os
from collections.abc import Callable


def end_with_caller(end: Callable[[], object]) -> None:
    """Call `end` when standard input ends; what is written to it is ignored. For the loop that runs."""
    loop = asyncio.get_running_loop()

    def look() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            end()

    loop.add_reader(0, look)
