"""A secret never shows itself."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import msgspec
import pytest

from grinder.settings import Secret, load, read_secret_file
from grinder.settings.secret import without_credentials


@pytest.mark.parametrize(
    "show", [str, repr, lambda secret: f"{secret}", lambda secret: f"{secret!r:>20}", lambda secret: f"{secret:>20}"]
)
def test_secret_when_shown_then_its_text_is_not(show: object) -> None:
    assert "abc123" not in show(Secret("abc123"))  # type: ignore[operator]


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy, msgspec.json.encode, msgspec.msgpack.encode])
def test_secret_when_encoded_or_copied_then_refused(take: object) -> None:
    with pytest.raises(TypeError):
        take(Secret("abc123"))  # type: ignore[operator]


def test_secret_when_in_settings_then_their_text_does_not_show_it() -> None:
    settings = load({"BINANCE_API_SECRET": "abc123abc123"})
    assert "abc123" not in repr(settings) + str(settings)


def test_secret_when_compared_then_by_text() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret()


def test_secret_file_when_read_then_bounded(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("k" * 10_000)
    assert len(read_secret_file(str(path))) == 4_097


def test_secret_file_when_it_is_a_pipe_without_a_writer_then_it_does_not_wait(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert read_secret_file(str(path)) == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("wss://me:word@v.example/x", "wss://<hidden>@v.example/x"),
        ("wss://me:wo/rd@d@v.example", "wss://<hidden>@v.example"),
        ("wss://v.example/x?token=word&more=word", "wss://v.example/x?<hidden>"),
        ("https://me@v.example/x?token=word#word", "https://<hidden>@v.example/x?<hidden>"),
        ("me:word@v.example", "<hidden>@v.example"),
        ("http://a.example,http://me:word@b.example", "http://<hidden>@b.example"),
        ("v.example?token=word", "v.example?<hidden>"),
        ("wss://v.example/x", "wss://v.example/x"),
        ("tape #3?.jsonl", "tape #3?.jsonl"),
    ],
)
def test_address_when_shown_then_user_query_and_fragment_are_not(text: str, shown: str) -> None:
    assert without_credentials(text) == shown
