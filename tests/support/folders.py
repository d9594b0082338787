"""Folders as a hostile child leaves them."""

import os


def chain(folder, levels=1500):
    """Folders in folders, more than the interpreter recurses, with a file in the last one: no path leads to that."""
    at = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)
