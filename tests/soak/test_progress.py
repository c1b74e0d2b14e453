"""What tells a long run that it stands still: quiet while something moves, loud with the reason when nothing does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.smoke.trees import TreeUnderTest
from tests.soak.progress import LINE_S, STILL_S, Progress, keep


def test_progress_when_something_moves_then_a_line_a_minute_says_how_much(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(100)
    for at_s in range(0, 1_000, 10):
        progress.look(float(at_s), 100 + at_s, lambda: "all is well")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == int(990 / LINE_S)
    assert lines[0].strip() == "60 s: 160 moved, 60 of them new; all is well"


def test_progress_when_nothing_moves_for_too_long_then_it_fails_and_says_why() -> None:
    progress = Progress(100)
    progress.look(10.0, 200, lambda: "")
    progress.look(10.0 + STILL_S - 1.0, 200, lambda: "")
    with pytest.raises(AssertionError, match="waits for an operator"):
        progress.look(10.0 + STILL_S, 200, lambda: "waits for an operator")


def test_keep_when_the_tree_is_gone_then_what_it_left_is_kept_and_each_answer_says_what_went_wrong(
    tmp_path: Path,
) -> None:
    tree = TreeUnderTest()
    try:
        (tree.root / "log").mkdir()
        (tree.root / "log" / "fsm.log").write_text("the reason\n")
        keep(tree, tmp_path / "kept")
    finally:
        tree.remove()
    assert (tmp_path / "kept" / "log" / "fsm.log").read_text() == "the reason\n"
    assert "refused" in (tmp_path / "kept" / "metrics.txt").read_text()
    assert (tmp_path / "kept" / "grinder_status.json").stat().st_size > 0
