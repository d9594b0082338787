"""CPU and memory of a stack's parts with all their descendants, from /proc."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_TICK = os.sysconf("SC_CLK_TCK")


class _Process(NamedTuple):
    pid: int
    parent: int
    ticks: int


def cpu_seconds(parts: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds so far by part (its pid and every descendant), ended descendants that were waited for included.

    The difference of two calls is what was spent between them.
    """
    processes = _processes()
    return {
        name: sum(processes[one].ticks for one in _tree(pid, processes)) / _TICK
        for name, pid in parts.items()
        if pid in processes
    }


def descendants(pid: int) -> list[int]:
    """The process ids of everything that a process has started and that still runs, at any depth."""
    return _tree(pid, _processes())[1:]


def resident_mb(parts: Mapping[str, int]) -> dict[str, float]:
    """Resident memory by part, MiB; a page shared by several processes counts by their share (PSS)."""
    processes = _processes()
    return {
        name: sum(_pss_kb(one) for one in _tree(pid, processes)) / 1024
        for name, pid in parts.items()
        if pid in processes
    }


def _processes() -> dict[int, _Process]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            # The command's name may hold spaces and brackets: the fields begin after the last one.
            fields = text[text.rindex(")") + 2 :].split()
            pid = int(entry.name)
            found[pid] = _Process(pid, int(fields[1]), sum(int(field) for field in fields[11:15]))
    return found


def _tree(root: int, processes: Mapping[int, _Process]) -> list[int]:
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    tree, at = [root], 0
    while at < len(tree):
        tree += children.get(tree[at], [])
        at += 1
    return tree


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(text.split()[1]) for text in lines if text.startswith("Pss:")), 0)
