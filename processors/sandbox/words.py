"""What the nursery and its children say on standard error, on its way into the worker's log: as theirs, cut, and paced.

They get a pipe and not the worker's own: who holds that can write lines as if they were the worker's, or empty its
file.
"""

import os
import select
import threading
import time

import structlog

log = structlog.get_logger(__name__)

_LONGEST = 2000  # characters; of a traceback the end says most
_AT_ONCE = 65_536
_PAUSE_S = 1.0


def overheard() -> tuple[int, threading.Thread]:
    """A descriptor to speak to, and the thread that logs what comes; it ends when nobody holds the other any more."""
    ours, theirs = os.pipe()
    thread = threading.Thread(target=_listen, args=(ours,), name="words of media children", daemon=True)
    thread.start()
    return theirs, thread


def _listen(ours: int) -> None:
    try:
        while True:
            select.select([ours], [], [])
            time.sleep(_PAUSE_S)  # for the rest of it; and whoever talks without end is not heard more often
            said = os.read(ours, _AT_ONCE)
            if not said:
                return
            text = said.decode(errors="replace").strip()
            log.warning("words of a media child", text=text[-_LONGEST:], left_out=max(0, len(text) - _LONGEST))
    finally:
        os.close(ours)
