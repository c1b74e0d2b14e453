"""One process's way to the account: the venue's request side and, where there is a key, its user stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from grinder.adapters.binance.sign import Signer
from grinder.adapters.binance.stops import SharedStops
from grinder.adapters.binance.user_stream import UserStream
from grinder.adapters.binance.venue import BinanceVenue, VenueConfig
from grinder.adapters.binance.venue_time import OwnTime
from grinder.adapters.binance.wire_gate import WireGate
from grinder.adapters.runtime import Boot
from grinder.model.control import Process
from grinder.model.venue import UserEvent
from grinder.settings import OrderTransport


class AccountLink:
    """``venue`` works while ``open`` is entered; without a key it answers public requests only.

    ``time``: what its requests are stamped with.
    """

    def __init__(self, boot: Boot) -> None:
        settings = boot.settings
        self.time = OwnTime(boot.clock, boot.board)
        signer = None
        if settings.binance_api_key and settings.binance_api_secret:
            signer = Signer(
                settings.binance_api_key.reveal(),
                settings.binance_api_secret.reveal(),
                venue_utc_ms=self.time.venue_utc_ms,
                recv_window_ms=settings.recv_window_ms,
            )
        # Only the executor commands orders; the others need no order connection of their own, and no last look.
        commands = boot.process is Process.EXECUTOR
        transport = settings.order_transport if commands else OrderTransport.REST
        gate = None
        if signer is not None and commands and settings.ha_enabled:
            gate = WireGate(boot.board, boot.clock, signer)
        config = VenueConfig(settings.venue_rest_url, settings.venue_ws_api_url, transport, settings.state_dir)
        self._boot = boot
        self._signed = signer is not None
        self.venue = BinanceVenue(
            config,
            signer,
            clock=boot.clock,
            telemetry=boot.telemetry,
            log=boot.log,
            gate=gate,
            stops=SharedStops(boot.board, boot.process),
        )
        self._stream: UserStream | None = None

    def renew(self, why: str) -> None:
        """Build the user stream's connection again, if there is a stream."""
        if self._stream is not None:
            self._stream.renew(why)

    @asynccontextmanager
    async def open(
        self, on_user_event: Callable[[UserEvent], None] | None
    ) -> AsyncIterator[list[Coroutine[Any, Any, None]]]:
        """Open the venue; yield what runs beside the service: the user stream, if it is wanted and there is a key."""
        boot = self._boot
        await self.venue.start()
        try:
            if on_user_event is None or not self._signed:
                yield []
            else:
                stream = UserStream(
                    boot.settings.venue_ws_url,
                    self.venue.rest,
                    on_user_event,
                    name=f"user_{boot.process}",
                    clock=boot.clock,
                    telemetry=boot.telemetry,
                    log=boot.log,
                )
                self._stream = stream
                yield [stream.run()]
        finally:
            await self.venue.close()
