"""Plug-in of supervisord: wakes its loop the moment a child dies or a signal comes, and tells children whose they are.

supervisord polls once a second, so a killed child comes back after 1 to 2 s; woken, after the time Python needs to
start. It reaches into supervisor's insides: the version is pinned (4.3.0) and a test holds the behaviour. Must never
raise inside supervisord's loop, and must survive its reload, which closes every descriptor.
Source: supervisor 4.3.0, supervisord.py ``runforever`` and options.py ``cleanup_fds``.
"""

from __future__ import annotations

import os
import signal
from typing import Final

from supervisor import events
from supervisor.medusa import asyncore_25 as asyncore

from grinder.adapters.parent import PARENT_VARIABLE

_READ_BYTES: Final = 4_096


class WakeUp:
    """A pipe in supervisord's poll that signals and state changes write to."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        asyncore.socket_map[self.reader] = self
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        # A child that was reaped is restarted on the next turn of the loop only: ask for that turn.
        events.subscribe(events.ProcessStateEvent, self._wake)
        # The first turn starts the programs: without this it would wait for a second first.
        self._wake()

    def _wake(self, event: events.Event | None = None) -> None:
        try:
            os.write(self._writer, b"\0")
        except OSError:
            pass  # Full: a wake-up is waiting already. Closed: a reload is under way and makes a new pipe.

    def readable(self) -> bool:
        """Tell supervisord to poll for reading."""
        return True

    def writable(self) -> bool:
        """Tell supervisord not to poll for writing."""
        return False

    def handle_read_event(self) -> None:
        """Empty the pipe; having woken up is all it was for."""
        try:
            os.read(self.reader, _READ_BYTES)
        except OSError:
            pass

    def handle_error(self) -> None:
        """Do nothing: supervisord calls this in place of raising."""


class Namespace:
    """The XML-RPC namespace that supervisord wants from a plug-in; empty."""


_current: dict[str, tuple[object, WakeUp]] = {}


def make(supervisord: object, **config: str) -> Namespace:
    """Return the plug-in's namespace; called by supervisord at its start and after each reload."""
    known = _current.get("wake")
    if known is None or known[0] is not supervisord:
        if known is not None:
            asyncore.socket_map.pop(known[1].reader, None)
        _current["wake"] = (supervisord, WakeUp())
        os.environ[PARENT_VARIABLE] = str(os.getpid())
    return Namespace()
