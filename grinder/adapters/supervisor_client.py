"""Talking to supervisord over its unix socket: what runs, stop one program, shut down.

Makes a new connection per call, because a refused one leaves the standard proxy unusable. Must never start a program.
"""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from pathlib import Path
from typing import Any, Final
from xml.parsers.expat import ExpatError

import msgspec

from grinder.model.errors import GrinderError

SUPERVISOR_SOCKET: Final = "supervisor.sock"
"""Name of supervisord's socket in the run folder."""

CALL_TIMEOUT_S: Final = 5.0
"""Longest wait for an answer about something that takes no time, seconds."""

_FAULT_BAD_NAME: Final = 10
_FAULT_NOT_RUNNING: Final = 70
_FAULT_SHUTDOWN: Final = 6
"""Source: supervisor 4.3.0, supervisor/xmlrpc.py, Faults."""

_STOPPED_STATES: Final = frozenset({"STOPPED", "EXITED", "FATAL"})


class SupervisorError(GrinderError):
    """supervisord does not run here, or did not answer."""


class Program(msgspec.Struct, frozen=True):
    """One supervised program. ``pid``: 0 while it does not run. ``description``: supervisord's words for people."""

    name: str
    state: str
    pid: int
    description: str

    @property
    def stopped(self) -> bool:
        """Tell whether nothing of it runs and nothing will start it again by itself."""
        return self.state in _STOPPED_STATES


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket, with a timeout on every operation."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        """Connect to the socket's path instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout_s)
        self.sock.connect(str(self._path))


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__()
        self._path = path
        self._timeout_s = timeout_s

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _Connection(self._path, self._timeout_s)
        # Where the base class looks for what its close() has to close.
        self._connection = (host, connection)
        return connection


class SupervisorClient:
    """One supervisord, found by its run folder."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / SUPERVISOR_SOCKET

    def programs(self) -> tuple[Program, ...]:
        """Return every program and its state.

        Raises:
            SupervisorError: supervisord does not answer, or is about to end.
        """
        try:
            rows = self._call("getAllProcessInfo", timeout_s=CALL_TIMEOUT_S)
        except xmlrpc.client.Fault as fault:
            raise SupervisorError(f"supervisord does not tell what runs: {fault.faultString}") from fault
        return tuple(Program(row["name"], row["statename"], row["pid"], row["description"]) for row in rows)

    def pid(self) -> int:
        """Return supervisord's own pid.

        Raises:
            SupervisorError: supervisord does not answer.
        """
        return int(self._call("getPID", timeout_s=CALL_TIMEOUT_S))

    def stop(self, name: str, timeout_s: float) -> bool:
        """Stop one program and wait until it ended.

        Args:
            name: the program.
            timeout_s: longest wait, seconds; longer than its ``stopwaitsecs``.

        Returns:
            True if it was running and has ended; False if there was nothing to stop.

        Raises:
            SupervisorError: supervisord does not answer, or not in time.
        """
        try:
            return bool(self._call("stopProcess", name, True, timeout_s=timeout_s))
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in (_FAULT_BAD_NAME, _FAULT_NOT_RUNNING, _FAULT_SHUTDOWN):
                return False
            raise SupervisorError(f"supervisord refused to stop {name}: {fault.faultString}") from fault

    def shutdown(self) -> None:
        """Ask supervisord to stop what is left, highest priority first, and to end.

        Raises:
            SupervisorError: supervisord does not answer.
        """
        try:
            self._call("shutdown", timeout_s=CALL_TIMEOUT_S)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != _FAULT_SHUTDOWN:
                raise SupervisorError(f"supervisord refused to shut down: {fault.faultString}") from fault

    def _call(self, method: str, *arguments: object, timeout_s: float) -> Any:
        transport = _Transport(self._path, timeout_s)
        proxy = xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=transport)
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault:
            raise
        except (OSError, http.client.HTTPException, xmlrpc.client.Error, ExpatError) as error:
            raise SupervisorError(f"no answer from supervisord at {self._path}: {type(error).__name__}") from error
        finally:
            transport.close()
