"""What a command says, on streams that may fail: a pipe that is closed, a full disk, a terminal that is gone.

Must never keep a command from its work, its audit line or its exit code because nobody takes what it says.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO, cast


class _Steady:
    """A text stream whose failures end the text and nothing else. ``beside``: where they are told, None for nowhere."""

    def __init__(self, stream: TextIO, beside: TextIO | None) -> None:
        self._stream = stream
        self._beside = beside
        self._gone = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write; what the stream's encoding has no characters for is escaped."""
        if self._gone:
            return len(text)
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            self._stream.write(text.encode("ascii", "backslashreplace").decode())
        except OSError as error:
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Flush what was written."""
        if self._gone:
            return
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Drop what waits and what follows; a reader that has read enough is no failure."""
        self._gone = True
        if self._beside is not None and not isinstance(error, BrokenPipeError):
            print(f"note: not everything could be printed: {error.strerror}", file=self._beside, flush=True)
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        except OSError:
            # Only what the interpreter flushes at its very end can fail now.
            return


@contextmanager
def steady_streams() -> Iterator[None]:
    """Have stdout and stderr never fail in here, and no terminal that hangs up end the command.

    Raises:
        KeyboardInterrupt: a signal asked it to end, as ``timeout`` does; like Ctrl-C, so that it is said and recorded.
    """
    out, err = sys.stdout, sys.stderr
    # Python has none for a descriptor that was closed from the start.
    told = cast(TextIO, _Steady(err, None)) if err is not None else None
    said = cast(TextIO, _Steady(out, told)) if out is not None else None
    with _signals(), redirect_stdout(said), redirect_stderr(told):
        try:
            yield
        finally:
            for stream in (said, told):
                if stream is not None:
                    stream.flush()


@contextmanager
def _signals() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGHUP, hangup)
