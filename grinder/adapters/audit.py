"""The audit file: one line per operator act in ``audit.jsonl``, appended with one write and flushed.

Must never stop an act because it cannot be recorded: it says so instead.
"""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Final

import msgspec

AUDIT_FILE: Final = "audit.jsonl"
_STANDARD_STREAMS: Final = (0, 1, 2)


class Operator(msgspec.Struct, frozen=True):
    """Who acts. ``login_uid``: the user who logged in, where the kernel knows, also behind sudo. ``tty``: or empty."""

    user: str
    uid: int
    login_uid: int | None
    tty: str
    pid: int

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{self.user} (uid {self.uid}{', ' + self.tty if self.tty else ''})"


class Act(msgspec.Struct, frozen=True):
    """One line of the file. ``phase``: ``begun`` before a long act, ``done`` at the end of every one."""

    utc_ms: int
    operator: Operator
    act: str
    phase: str
    arguments: dict[str, str]
    exit_code: int | None
    result: str


def this_operator() -> Operator:
    """Return who runs this process."""
    return Operator(_user(), os.getuid(), _login_uid(), _tty(), os.getpid())


def append_act(state_dir: Path, act: Act) -> str:
    """Append one act; return why it could not be recorded, or an empty string."""
    line = _line(act)
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(state_dir / AUDIT_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size > 0 and _is_torn(state_dir / AUDIT_FILE, size):
                line = b"\n" + line
            written = os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return f"the audit line was not written: {error.strerror}"
    return "" if written == len(line) else "the audit line was written in part only"


def _line(act: Act) -> bytes:
    """Return the act as a line; bytes of a command line that are no text are escaped, for they must not lose it."""
    try:
        return msgspec.json.encode(act) + b"\n"
    except UnicodeEncodeError:
        arguments = {name: _readable(text) for name, text in act.arguments.items()}
        return (
            msgspec.json.encode(msgspec.structs.replace(act, arguments=arguments, result=_readable(act.result))) + b"\n"
        )


def _readable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _is_torn(path: Path, size: int) -> bool:
    """Tell whether the last line has no end: a disk filled up, and the next line must not be lost in it."""
    with path.open("rb") as file:
        file.seek(size - 1)
        return file.read(1) != b"\n"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _login_uid() -> int | None:
    """Return the kernel's login uid; None where nobody logged in or it is not kept."""
    try:
        uid = int(Path("/proc/self/loginuid").read_text())
    except (OSError, ValueError):
        return None
    return None if uid == 2**32 - 1 else uid


def _tty() -> str:
    for descriptor in _STANDARD_STREAMS:
        try:
            return os.ttyname(descriptor)
        except OSError:
            continue
    return ""
