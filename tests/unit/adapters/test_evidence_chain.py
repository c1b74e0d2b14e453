"""The chain over the evidence: what it notices, and what a killed writer leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from grinder.adapters import evidence_chain
from grinder.adapters.evidence import write_evidence
from grinder.adapters.evidence_writer import prune

CHAIN = f"{evidence_chain.CHAIN_FOLDER}/fsm.jsonl"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(4):
        write_evidence(tmp_path, "fsm", "fsm", f"{number}.txt", f"text {number}\n")
    write_evidence(tmp_path, "operator", "exit", "exit_1.json", "{}\n")
    return tmp_path


def drop_line(root: Path, number: int) -> None:
    lines = (root / CHAIN).read_bytes().splitlines(keepends=True)
    (root / CHAIN).write_bytes(b"".join(lines[:number] + lines[number + 1 :]))


TAMPERINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file is changed": (lambda root: (root / "fsm/1.txt").write_text("x"), "fsm/1.txt: was changed"),
    "a file is taken away": (lambda root: (root / "fsm/1.txt").unlink(), "fsm/1.txt: No such file"),
    "a file is added": (lambda root: (root / "fsm/9.txt").write_text("x"), "fsm/9.txt: is in no chain"),
    "a line is taken out": (lambda root: drop_line(root, 1), f"{CHAIN}:2: does not follow"),
    "the first line is taken out": (lambda root: drop_line(root, 0), f"{CHAIN}:1: does not follow"),
    "a line is changed": (
        lambda root: (root / CHAIN).write_text((root / CHAIN).read_text().replace("fsm/1.txt", "fsm/7.txt")),
        f"{CHAIN}:3: does not follow",
    ),
    "a line is no line": (
        lambda root: (root / CHAIN).write_bytes((root / CHAIN).read_bytes() + b"?\n"),
        f"{CHAIN}:5: not a line",
    ),
}


def test_chain_when_nothing_was_touched_then_it_holds_and_each_writer_has_a_head(root: Path) -> None:
    report = evidence_chain.check(root)
    assert (report.problems, report.files) == ((), 5)
    assert {writer: head.seq for writer, head in report.heads.items()} == {"fsm": 4, "operator": 1}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_chain_when_tampered_with_then_the_check_names_it(root: Path, what: str) -> None:
    tamper, expected = TAMPERINGS[what]
    tamper(root)
    assert any(problem.startswith(expected) for problem in evidence_chain.check(root).problems)


def test_chain_when_the_last_lines_are_cut_off_then_their_files_are_in_no_chain(root: Path) -> None:
    drop_line(root, 3)
    assert evidence_chain.check(root).problems == ("fsm/3.txt: is in no chain",)


def test_chain_when_its_writer_died_within_a_line_then_the_next_one_cuts_it_off_and_goes_on(root: Path) -> None:
    with (root / CHAIN).open("a") as chain:
        chain.write('{"seq":5,"deed":"wro')
    write_evidence(root, "fsm", "fsm", "4.txt", "text 4\n")
    report = evidence_chain.check(root)
    assert (report.problems, report.heads["fsm"].seq) == ((), 5)


def test_prune_when_bundles_are_old_then_whole_bundles_go_with_their_checksums(root: Path) -> None:
    for bundle in ("20260101T000000Z", "20260102T000000Z"):
        for name in ("positions.json", "summary.txt"):
            write_evidence(root, "syncer", f"account_sync/{bundle}", name, f"{bundle} {name}\n")
    assert prune(root, "syncer", "account_sync", 1) == 1
    assert [path.name for path in (root / "account_sync").iterdir()] == ["20260102T000000Z"]
    report = evidence_chain.check(root)
    assert (report.problems, report.pruned) == ((), 2)


def test_prune_when_another_writer_wrote_the_file_then_the_chain_still_holds(root: Path) -> None:
    write_evidence(root, "executor", "exit", "exit_2.json", "{}\n")
    assert prune(root, "executor", "exit", 1) == 1
    assert not (root / "exit" / "exit_1.json").exists()
    report = evidence_chain.check(root)
    assert (report.problems, report.files, report.pruned) == ((), 5, 1)


def test_write_when_it_fails_then_nothing_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "kill" / "one.json").mkdir(parents=True)
    with pytest.raises(OSError, match=r"one\.json"):
        write_evidence(tmp_path, "operator", "kill", "one.json", "{}")
    assert [path.name for path in (tmp_path / "kill").iterdir()] == ["one.json"]
