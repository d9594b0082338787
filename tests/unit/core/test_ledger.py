from streams.core.ledger import Ledger, Partition

A, B = Partition("jobs", 0), Partition("jobs", 1)


def test_positions_are_of_partitions_that_were_read():
    ledger = Ledger()
    ledger.assign([A, B])
    entry = ledger.open(A, 41)
    assert ledger.positions() == {A: 41}
    ledger.settle(entry)
    assert ledger.positions() == {A: 42}


def test_a_record_of_a_revoked_partition_is_refused():
    ledger = Ledger()
    ledger.assign([A])
    ledger.revoke([A])
    assert ledger.open(A, 1) is None
    assert ledger.positions() == {}


def test_an_outcome_of_an_older_assignment_changes_nothing():
    """Between two assignments the partition's records came again, and the new one is still open."""
    ledger = Ledger()
    ledger.assign([A])
    before = ledger.open(A, 5)
    ledger.revoke([A])
    ledger.assign([A])
    again = ledger.open(A, 5)
    ledger.settle(before)
    assert ledger.positions() == {A: 5}
    assert not ledger.is_open(before)
    ledger.settle(again)
    assert ledger.positions() == {A: 6}


def test_plain_tuples_name_partitions_too():
    ledger = Ledger()
    ledger.assign([("jobs", 0)])
    assert ledger.open(("jobs", 0), 3) is not None
    assert ledger.head(A) == 3
    assert ledger.gap(A) == 1
    assert ledger.open_records(A) == 1
