"""A small model of a tenant's credit, against which the SQL and the simulation are held.

It is a list of rows and two sentences: of each class's first waiting job that may go, the one whose turn comes first
goes. A job may go if there is credit and, of its class's part of it, less is taken than that: by whatever is dispatched
until its turn has come, and by its own class from then on.
"""

SHARE = {"primary": 1, "secondary": 2, "bulk": 8}


def may_go(row, dispatched_, credits_):
    own = sum(kind == row.job_class for kind in dispatched_)
    taken = own if row.ripe else len(dispatched_)
    return len(dispatched_) < credits_ and taken < max(1, credits_ // SHARE[row.job_class])


def dispatched(rows):
    """The classes of what is dispatched."""
    return [row.job_class for row in rows if row.state in ("queued", "running")]


def next_to_go(rows, dispatched_, credits_):
    """The model: which waiting job goes next, None if none may."""
    heads = {}
    for row in rows:
        if row.state == "waiting" and row.reason == "credit":
            heads.setdefault(row.job_class, row)
    going = [row for row in heads.values() if may_go(row, dispatched_, credits_)]
    return min(going, key=lambda row: (row.turn_at, row.id), default=None)


def goes_at_once(kind, dispatched_, credits_):
    """Whether a new job of a class is dispatched as it is made."""
    return len(dispatched_) < max(1, credits_ // SHARE[kind])
