"""What the venue tells a command to wait for is told to the tree of the host, if there is one, and to later runs.

Must never make the command wait: board and disk are written beside it.
"""

from __future__ import annotations

from functools import partial

from grinder.adapters.binance.ban import BanFile
from grinder.adapters.binance.stops import SharedStops, Stops
from grinder.adapters.flatten import Silent
from grinder.cli.acts import Scene
from grinder.cli.beside import Beside
from grinder.model.board import BAN_WORDS, OPERATOR, PAUSE_WORDS
from grinder.model.units import NS_PER_MS


class HostStops(Stops):
    """The stops of one command.

    ``listens``: it takes over what the tree was told. An exit does not: that may be of an address that this host has no
    more, and its own first question finds out.
    """

    def __init__(self, where: Scene, *, listens: bool = False) -> None:
        super().__init__()
        self._where = where
        if not listens:
            return
        with where.board() as (board, _):
            if board is not None:
                super().pause(max(board.read_all(PAUSE_WORDS)))
                super().ban(max(board.read_all(BAN_WORDS)))

    def pause(self, until_boot_ns: int) -> None:
        """Take over a pause, and tell it on."""
        if until_boot_ns > self.paused_until_boot_ns:
            super().pause(until_boot_ns)
            Beside(partial(self._tell, paused_until_boot_ns=until_boot_ns))

    def ban(self, until_boot_ns: int) -> None:
        """Take over a ban, and tell it on."""
        if until_boot_ns > self.banned_until_boot_ns:
            super().ban(until_boot_ns)
            Beside(partial(self._tell, banned_until_boot_ns=until_boot_ns))
            Beside(partial(self._keep, (until_boot_ns - self._where.clock.boot_ns()) // NS_PER_MS))

    def _tell(self, *, paused_until_boot_ns: int = 0, banned_until_boot_ns: int = 0) -> None:
        with self._where.board() as (board, _):
            if board is not None:
                told = SharedStops(board, OPERATOR)
                told.pause(paused_until_boot_ns)
                told.ban(banned_until_boot_ns)

    def _keep(self, left_ms: int) -> None:
        where = self._where
        BanFile(where.state_dir, where.settings.venue_rest_url, clock=where.clock, log=Silent()).keep(left_ms)
