"""A WebSocket client connection that hands frames to a callback and sends without awaiting.

``websockets`` does the protocol; its queue of messages and its coroutines are left out, because each costs a wake-up
per frame. Must never buffer without bound: a message above the size limit ends the connection, and a connection whose
last write is still waiting in this host refuses the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.frames import DATA_OPCODES, Frame
from websockets.protocol import OPEN, Event

from grinder.model.limits import FRAME_BYTES_MAX

OPEN_TIMEOUT_S = 5.0
PING_INTERVAL_S = 5.0
PING_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 1.0

ConnectError = (OSError, WebSocketException, TimeoutError)
"""What ``open_frames`` raises when there is no connection to be had now."""


class FrameConnection(ClientConnection):
    """A client connection with frames by callback."""

    def __init__(
        self,
        protocol: ClientProtocol,
        *,
        on_frame: Callable[[bytes], None],
        on_lost: Callable[[str], None],
        **options: Any,
    ) -> None:
        super().__init__(protocol, **options)
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._parts: list[bytes] = []

    def process_event(self, event: Event) -> None:
        """Pass each whole data message on at once; leave the handshake and control frames to the library."""
        if self.response is None or not isinstance(event, Frame):
            super().process_event(event)
        elif event.opcode in DATA_OPCODES:
            if event.fin and not self._parts:
                self._on_frame(bytes(event.data))
                return
            if event.data:
                self._parts.append(bytes(event.data))
            if event.fin:
                message = b"".join(self._parts)
                self._parts.clear()
                self._on_frame(message)
        else:
            super().process_event(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner, once, that nothing more will come."""
        super().connection_lost(exc)
        if self.response is not None:
            self._on_lost(f"closed_{self.protocol.close_code}" if exc is None else type(exc).__name__)

    @property
    def is_open(self) -> bool:
        """Tell whether a message may be sent now."""
        return self.protocol.state is OPEN and not self.paused and not self.transport.is_closing()

    def send_now(self, message: bytes) -> bool:
        """Write one text message to the socket; return False if it certainly did not leave this process.

        After True nobody knows whether it arrived until an answer comes or the connection is lost.
        """
        if not self.is_open:
            return False
        self.protocol.send_text(message)
        self.send_data()
        return True


async def open_frames(
    url: str,
    *,
    on_frame: Callable[[bytes], None],
    on_lost: Callable[[str], None],
    max_bytes: int = FRAME_BYTES_MAX,
) -> FrameConnection:
    """Connect and return the connection.

    ``on_lost`` is called exactly once for every connection returned, perhaps before this function returns it; it may
    also be called for one that failed in its handshake. A message above ``max_bytes`` ends the connection.

    Source: venue documentation, "a single connection is only valid for 24 hours", ping every 3 minutes, 2026-05-28.

    Raises:
        OSError, TimeoutError, WebSocketException: no connection (``ConnectError`` holds them all).
    """

    def create(protocol: ClientProtocol, **options: Any) -> FrameConnection:
        return FrameConnection(protocol, on_frame=on_frame, on_lost=on_lost, **options)

    connection = await connect(
        url,
        compression=None,
        proxy=None,
        open_timeout=OPEN_TIMEOUT_S,
        ping_interval=PING_INTERVAL_S,
        ping_timeout=PING_TIMEOUT_S,
        close_timeout=CLOSE_TIMEOUT_S,
        max_size=max_bytes,
        max_queue=None,
        # Whatever the kernel did not take at once is a backlog, and the next message is refused. Not 0: over TLS an
        # empty buffer would count as one.
        write_limit=(1, 0),
        create_connection=cast("type[ClientConnection]", create),
    )
    return cast("FrameConnection", connection)
