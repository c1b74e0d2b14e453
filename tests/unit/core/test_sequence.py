from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from grinder.core.sequence import Order, SequenceTracker


def test_follow_when_number_is_next_then_next() -> None:
    tracker = SequenceTracker()
    assert [tracker.follow("a", 1, seq).order for seq in (1, 2, 3)] == [Order.NEXT] * 3


def test_follow_when_first_frame_is_late_then_no_gap() -> None:
    assert SequenceTracker().follow("a", 1, 500).order is Order.NEXT


def test_follow_when_numbers_are_missing_then_gap_of_that_size() -> None:
    tracker = SequenceTracker()
    tracker.follow("a", 1, 1)
    step = tracker.follow("a", 1, 5)
    assert (step.order, step.missing) == (Order.GAP, 3)


def test_follow_when_publisher_restarted_then_restart_and_what_it_sent_before() -> None:
    tracker = SequenceTracker()
    tracker.follow("a", 1, 9)
    step = tracker.follow("a", 2, 3)
    assert (step.order, step.missing) == (Order.RESTARTED, 2)
    assert tracker.follow("a", 2, 4).order is Order.NEXT


def test_follow_when_incarnation_is_older_then_refused_and_forgotten() -> None:
    tracker = SequenceTracker()
    tracker.follow("a", 2, 1)
    assert tracker.follow("a", 1, 2).order is Order.OLD_INCARNATION
    assert tracker.follow("a", 2, 2).order is Order.NEXT


def test_follow_when_number_repeats_then_refused() -> None:
    tracker = SequenceTracker()
    tracker.follow("a", 1, 4)
    assert tracker.follow("a", 1, 4).order is Order.REPEATED
    assert tracker.follow("a", 1, 3).order is Order.REPEATED


def test_follow_when_keys_differ_then_tracked_apart() -> None:
    tracker = SequenceTracker()
    tracker.follow("a", 1, 1)
    assert tracker.follow("b", 7, 40).order is Order.NEXT
    assert tracker.follow("a", 1, 2).order is Order.NEXT


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30)), max_size=60))
def test_follow_when_any_frames_come_then_accepted_ones_only_grow(frames: list[tuple[int, int]]) -> None:
    tracker = SequenceTracker()
    accepted = [
        frame for frame in frames if tracker.follow("a", *frame).order not in (Order.OLD_INCARNATION, Order.REPEATED)
    ]
    assert accepted == sorted(set(accepted))
    assert max(frames, default=None) in (*accepted, None)
