from __future__ import annotations

import json
import os
from pathlib import Path

from grinder.adapters.audit import AUDIT_FILE, Act, append_act, this_operator


def act(number: int) -> Act:
    return Act(number, this_operator(), "kill", "done", {"reason": "a\nb \N{SNOWMAN}"}, 0, "LATCHED")


def test_append_when_called_twice_then_two_lines_and_the_first_is_untouched(tmp_path: Path) -> None:
    assert append_act(tmp_path / "state", act(1)) == ""
    first = (tmp_path / "state" / AUDIT_FILE).read_bytes()
    assert append_act(tmp_path / "state", act(2)) == ""
    data = (tmp_path / "state" / AUDIT_FILE).read_bytes()
    assert data.startswith(first)
    lines = [json.loads(line) for line in data.splitlines()]
    assert [line["utc_ms"] for line in lines] == [1, 2]
    assert lines[0]["operator"]["uid"] == os.getuid()
    assert lines[0]["arguments"] == {"reason": "a\nb \N{SNOWMAN}"}


def test_append_when_the_folder_cannot_be_used_then_it_says_so_and_does_not_raise(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    assert "not written" in append_act(tmp_path / "state", act(1))


def test_append_when_the_last_line_was_written_in_part_then_the_next_is_one_of_its_own(tmp_path: Path) -> None:
    """A disk that filled up in the middle of a line, and has room again."""
    (tmp_path / AUDIT_FILE).write_bytes(b'{"utc_ms":1,"oper')
    assert append_act(tmp_path, act(2)) == ""
    torn, whole = (tmp_path / AUDIT_FILE).read_bytes().splitlines()
    assert (torn, json.loads(whole)["utc_ms"]) == (b'{"utc_ms":1,"oper', 2)


def test_append_when_an_argument_is_no_text_then_it_is_escaped(tmp_path: Path) -> None:
    assert append_act(tmp_path, Act(1, this_operator(), "kill", "done", {"reason": "\udcff"}, 0, "\udcff")) == ""
    line = json.loads((tmp_path / AUDIT_FILE).read_bytes())
    assert (line["arguments"], line["result"]) == ({"reason": "\\udcff"}, "\\udcff")
