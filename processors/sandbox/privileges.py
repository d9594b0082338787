"""What is taken from a process that may be root's, or root in a namespace of its own: every capability, for good.

Linux only, through `capset` and the bounding set: a program that root starts would get back what is still in that.
"""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

from processors.sandbox import limits

_PR_CAPBSET_DROP = 24
_VERSION_3 = 0x2008_0522
_MOST = 64
_READ_ANYTHING = 1 << 2  # CAP_DAC_READ_SEARCH

_libc = ctypes.CDLL(None, use_errno=True)


def drop_capabilities(needed: Iterable[Path]) -> bool:
    """Give up every capability, for this process and its descendants; False where one is left.

    Root keeps the one to read anything if it alone leads to a folder of `needed`, say in another user's closed home.
    In a namespace of one's own it leads to nothing of other users', and goes.
    """
    had = _permitted()
    _hold(effective=0, permitted=had)
    closed = [folder for folder in needed if not _can_enter(folder)]
    _hold(effective=had, permitted=had)
    kept = had & _READ_ANYTHING if any(map(_can_enter, closed)) else 0
    for number in range(_MOST):
        if not kept & 1 << number:
            _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)  # not ours to drop: then there is nothing to get back either
    _hold(effective=kept, permitted=kept)
    return not _permitted()


def _can_enter(folder: Path) -> bool:
    try:
        os.scandir(folder).close()
    except PermissionError:
        return False
    except OSError:
        return True  # not there
    return True


def _permitted() -> int:
    header, sets = (ctypes.c_uint32 * 2)(_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    limits.checked(_libc.capget(header, sets), "capget")
    return sets[1] | sets[4] << 32


def _hold(*, effective: int, permitted: int) -> None:
    """Hold these, and pass none on. A seccomp profile may forbid it: whoever asks afterwards sees what is left."""
    low, high = 0xFFFF_FFFF, 32
    sets = (ctypes.c_uint32 * 6)(effective & low, permitted & low, 0, effective >> high, permitted >> high, 0)
    _libc.capset((ctypes.c_uint32 * 2)(_VERSION_3, 0), sets)
