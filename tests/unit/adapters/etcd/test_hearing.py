"""Whether a stream still hears, judged by what linearizable reads see."""

from __future__ import annotations

from grinder.adapters.etcd.watch import Hearing
from grinder.model.cluster import ClusterView


def view(revision: int, resigned: int = 0) -> ClusterView:
    """A view whose content is one number."""
    return ClusterView(revision, 1, 1, 1, 0, resigned=resigned)


def test_hearing_when_nothing_changes_then_silence_is_fine() -> None:
    hearing = Hearing()
    assert not any(hearing.lost(view(revision), 0, by_itself=True) for revision in (5, 6, 7, 8))


def test_hearing_when_a_change_was_rung_for_then_fine() -> None:
    hearing = Hearing()
    assert not hearing.lost(view(5), 0, by_itself=True)
    assert not hearing.lost(view(6, 1), 6, by_itself=False)
    assert not hearing.lost(view(6, 1), 6, by_itself=True)


def test_hearing_when_the_ring_comes_late_then_fine() -> None:
    hearing = Hearing()
    hearing.lost(view(5), 0, by_itself=True)
    assert not hearing.lost(view(6, 1), 0, by_itself=True), "the read may be ahead of the stream"
    assert not hearing.lost(view(6, 1), 6, by_itself=False)
    assert not hearing.lost(view(6, 1), 6, by_itself=True)


def test_hearing_when_a_change_is_not_rung_for_by_the_next_read_then_lost() -> None:
    hearing = Hearing()
    hearing.lost(view(5), 5, by_itself=True)
    assert not hearing.lost(view(6, 1), 5, by_itself=True)
    assert hearing.lost(view(6, 1), 5, by_itself=True)
    assert not hearing.lost(view(6, 1), 0, by_itself=True), "the next stream has its own chance"


def test_hearing_when_a_read_was_called_for_before_the_ring_then_the_next_own_read_decides() -> None:
    hearing = Hearing()
    hearing.lost(view(5), 5, by_itself=True)
    hearing.lost(view(6, 1), 5, by_itself=True)
    assert not hearing.lost(view(6, 1), 5, by_itself=False)
    assert hearing.lost(view(6, 1), 5, by_itself=True)


def test_hearing_when_revisions_go_back_then_lost() -> None:
    hearing = Hearing()
    hearing.lost(view(50, 1), 50, by_itself=True)
    assert hearing.lost(view(2), 50, by_itself=False)
    assert not hearing.lost(view(3), 0, by_itself=True)
