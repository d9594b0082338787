"""What a user without any privilege finds: tests may run as root, and root is refused nothing."""

import multiprocessing
import os

NOBODY = 65_534


def as_nobody(act):
    """What `act` returns in a process that has become a user who owns nothing (if it was root)."""

    def become(answers):
        if os.geteuid() == 0:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        answers.send(act())

    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=become, args=(theirs,))
    child.start()
    theirs.close()  # so that a child that fails ends the pipe, and does not leave us waiting
    try:
        return ours.recv()
    finally:
        child.join()
