"""What usage remembers of the events it counted."""

import uuid

from streams.core.ledger import Partition
from streams.usage.lately import Lately

A, B = Partition("events", 0), Partition("events", 1)
IDS = [uuid.UUID(int=number) for number in range(10)]


def test_an_id_under_another_offset_is_a_repeat_and_the_same_record_is_none():
    lately = Lately()
    assert not lately.is_repeat(A, IDS[0], 5)
    assert not lately.is_repeat(A, IDS[0], 5), "the same record, after a rebalance"
    assert lately.is_repeat(A, IDS[0], 9)
    assert lately.is_repeat(A, IDS[0], 9), "it stays one"
    assert not lately.is_repeat(A, IDS[0], 5), "and the first stays none"


def test_partitions_do_not_know_each_other():
    lately = Lately()
    lately.is_repeat(A, IDS[0], 5)
    assert not lately.is_repeat(B, IDS[0], 6)


def test_only_so_many_are_remembered_and_a_repeat_is_among_the_newest():
    lately = Lately(size=3)
    for offset, event_id in enumerate(IDS[:3]):
        lately.is_repeat(A, event_id, offset)
    assert lately.is_repeat(A, IDS[0], 10)
    lately.is_repeat(A, IDS[3], 11)
    assert lately.is_repeat(A, IDS[0], 12), "the second went, not the repeat"
    assert not lately.is_repeat(A, IDS[1], 13)


def test_no_more_is_remembered_of_many_partitions_than_of_one():
    lately = Lately(size=3)
    for number, event_id in enumerate(IDS[:4]):
        lately.is_repeat(Partition("events", number), event_id, 5)
    assert not lately.is_repeat(A, IDS[0], 9), "the oldest went"
    assert lately.is_repeat(Partition("events", 3), IDS[3], 9)
