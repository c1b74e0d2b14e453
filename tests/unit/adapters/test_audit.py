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
