"""Questions to a supervisord that ends while it answers."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from grinder.adapters.supervisor_client import SUPERVISOR_SOCKET, SupervisorClient, SupervisorError

REPLY = (
    b"<?xml version='1.0'?><methodResponse><params><param><value><int>7</int></value></param></params></methodResponse>"
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n" % len(REPLY)


@pytest.fixture
def run_dir() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_question_when_the_answer_is_cut_off_then_it_counts_as_none(run_dir: Path, part: float) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run_dir / SUPERVISOR_SOCKET))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(HEAD + REPLY[: int(part * len(REPLY))])

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(SupervisorError, match="no answer from supervisord"):
            SupervisorClient(run_dir).pid()
        thread.join()
