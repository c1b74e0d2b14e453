"""The highest term on the disk: what was saved comes back, and what cannot be read is not taken for none."""

from __future__ import annotations

from pathlib import Path

import pytest

from grinder.adapters.term_file import TermFile


def test_load_when_nothing_was_ever_saved_then_zero(tmp_path: Path) -> None:
    assert TermFile(tmp_path / "term").load() == 0


def test_save_when_done_then_a_later_start_reads_it(tmp_path: Path) -> None:
    assert TermFile(tmp_path / "term").save(41)
    assert TermFile(tmp_path / "term").save(1_000_000_042)
    assert TermFile(tmp_path / "term").load() == 1_000_000_042
    assert [path.name for path in tmp_path.iterdir()] == ["term"]


@pytest.mark.parametrize("content", [b"", b"-1\n", b"4 2", b"\xff\xfe", b"\xd9\xa1", b"9" * 40])
def test_load_when_it_is_not_a_term_then_unknown_not_zero(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "term").write_bytes(content)
    assert TermFile(tmp_path / "term").load() is None


def test_save_when_the_folder_is_gone_then_refused(tmp_path: Path) -> None:
    assert not TermFile(tmp_path / "absent" / "term").save(1)
