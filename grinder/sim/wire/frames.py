"""WebSocket text frames made once and written to many sockets at once, past the library's queues.

A server's frames are not masked, so one encoding serves every client. A socket that does not keep up is cut off, as the
venue does, so that nothing piles up here.
"""

from __future__ import annotations

import os
import struct
from asyncio import Transport
from typing import Final

BACKLOG_BYTES_MAX: Final = 64 << 20
"""Unsent bytes at which a slow client is disconnected; more than the longest frame that can be injected."""


def text_frame(payload: bytes) -> bytes:
    """Return an unmasked, unfragmented text frame. Source: RFC 6455, section 5.2."""
    length = len(payload)
    if length < 126:
        return bytes((0x81, length)) + payload
    if length < 65_536:
        return struct.pack("!BBH", 0x81, 126, length) + payload
    return struct.pack("!BBQ", 0x81, 127, length) + payload


class Wire:
    """One client's socket, written to without waiting and without a task switch."""

    __slots__ = ("_descriptor", "_plain", "_transport")

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._descriptor: int = transport.get_extra_info("socket").fileno()
        self._plain = transport.get_extra_info("sslcontext") is None

    def write(self, frame: bytes) -> None:
        """Write one whole frame: straight to the socket when nothing is queued before it."""
        transport = self._transport
        if transport.is_closing():
            return
        backlog = transport.get_write_buffer_size()
        if backlog > BACKLOG_BYTES_MAX:
            transport.abort()
            return
        if backlog == 0 and self._plain:
            try:
                sent = os.write(self._descriptor, frame)
            except BlockingIOError:
                sent = 0
            except OSError:
                transport.abort()
                return
            if sent == len(frame):
                return
            frame = frame[sent:]
        transport.write(frame)

    def abort(self) -> None:
        """Cut the connection at once."""
        self._transport.abort()
