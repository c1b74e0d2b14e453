"""The bus: publishers and receivers of the channel table over ZeroMQ ``ipc://`` sockets in a private directory.

Must never block a sender, never raise on what a peer sent, and never deliver a frame of a publisher's earlier life.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import zmq

from grinder.adapters.framing import CHANNEL_OF, Dropped, Framing
from grinder.core.sequence import Gap, Order, SequenceTracker
from grinder.model.channels import Channel, Pattern, QueuePolicy
from grinder.model.control import Process
from grinder.model.frames import Envelope, Frame
from grinder.model.limits import BIND_TRIES_MAX, DRAIN_FRAMES_MAX, FRAME_BYTES_DISCONNECT, FRAME_BYTES_MAX
from grinder.model.market import BookTop, MarkPrice
from grinder.model.reasons import DropReason
from grinder.ports import Clock, Telemetry

Arrival = Envelope[Frame] | Gap
"""What a receiver hands over, in order: frames, and gaps before the frame that revealed them."""

RECONNECT_MS: Final = 10
RECONNECT_MS_MAX: Final = 100
"""Wait of ZeroMQ between two attempts to connect to a socket that is not there, milliseconds."""

_BIND_RETRY_S: Final = 0.02
_READABLE: Final = int(zmq.POLLIN)
_NEXT: Final = Order.NEXT
_LATEST: Final = QueuePolicy.LATEST_PER_SYMBOL
_SUPERSEDED: Final = (BookTop, MarkPrice)
_REFUSED: Final = {Order.OLD_INCARNATION: DropReason.OLD_INCARNATION, Order.REPEATED: DropReason.OUT_OF_ORDER}


def socket_path(run_dir: Path, channel: Channel) -> Path:
    """Return the path of a channel's socket."""
    return run_dir / f"{channel.name}.ipc"


class Publisher:
    """The sending end of one channel. One thread only."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        channel: Channel,
        incarnation: int,
        term: Callable[[], int],
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._socket = socket
        self._channel = channel
        self._incarnation = incarnation
        self._term = term
        self._clock = clock
        self._telemetry = telemetry
        self._encode = msgspec.msgpack.Encoder().encode
        self._seq = 0

    @property
    def seq(self) -> int:
        """Number of the last frame that was queued; 0 before the first."""
        return self._seq

    def send(self, frame: Frame) -> bool:
        """Queue a frame without waiting.

        A frame that was not queued takes no sequence number, so that the receiver sees no gap for it.

        Returns:
            True if it was queued. False if the queue is full, a PUSH channel has no peer, or it is too large.
        """
        assert CHANNEL_OF[type(frame)] is self._channel
        data = self._encode(
            Envelope(self._seq + 1, self._incarnation, self._term(), self._clock.mono_ns(), frame),
        )
        if len(data) > FRAME_BYTES_MAX or not self._offer(data):
            self._telemetry.count("grinder_bus_send_failed_total", self._channel.name)
            return False
        self._seq += 1
        return True

    def _offer(self, data: bytes) -> bool:
        try:
            self._socket.send(data, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True


class Receiver:
    """The receiving end of some channels: one SUB socket for all published ones, one PULL socket per pushed one.

    One thread only. ``more`` is True while the last drain stopped at its bound and not at an empty queue.
    """

    def __init__(
        self,
        sockets: tuple[zmq.Socket[bytes], ...],
        channels: tuple[Channel, ...],
        process: Process,
        telemetry: Telemetry,
    ) -> None:
        self._sockets = sockets
        self._framing = Framing(channels)
        self._process = process
        self._telemetry = telemetry
        self._tracker = SequenceTracker()
        self._supersedes = any(channel.policy is _LATEST for channel in channels)
        self._by_fileno = {int(socket.getsockopt(zmq.FD)): (socket,) for socket in sockets}
        self._wait_ms = -1
        self.more = False

    def filenos(self) -> tuple[int, ...]:
        """Return the descriptors to watch; edge-triggered, so drain until ``more`` is False and on every timer."""
        return tuple(self._by_fileno)

    def wait(self, timeout_ms: int) -> list[Arrival]:
        """Wait up to ``timeout_ms`` (1 or more) for a frame, then drain; for a receiver with one socket.

        Returns:
            What ``drain`` returns; empty when the time passed.
        """
        assert timeout_ms > 0
        assert len(self._sockets) == 1
        socket = self._sockets[0]
        if timeout_ms != self._wait_ms:
            socket.setsockopt(zmq.RCVTIMEO, timeout_ms)
            self._wait_ms = timeout_ms
        try:
            first = socket.recv()
        except zmq.Again:
            self.more = False
            return []
        return self._take(first, self._sockets)

    def drain(self, fileno: int | None = None) -> Iterable[Arrival]:
        """Take what is queued, up to DRAIN_FRAMES_MAX messages, without waiting; the answer must be read to its end.

        Args:
            fileno: one of ``filenos``, to take only what made it readable; None for everything.

        Returns:
            Frames and gaps in order of arrival; of a latest-per-symbol channel only the newest book and mark per
            symbol, at the place where the newest arrived. Where nothing can supersede anything, each is handed over
            before the next is read: the first intent of a burst waits for none of the others.
        """
        sockets = self._sockets if fileno is None else self._by_fileno[fileno]
        return self._take(None, sockets) if self._supersedes else self._one_by_one(sockets)

    def _one_by_one(self, sockets: tuple[zmq.Socket[bytes], ...]) -> Iterator[Arrival]:
        for data in self._queued(sockets, 0):
            batch = _Batch()
            self._accept(data, batch)
            yield from batch.arrivals()
            self._count(batch)

    def _take(self, first: bytes | None, sockets: tuple[zmq.Socket[bytes], ...]) -> list[Arrival]:
        batch = _Batch()
        if first is not None:
            self._accept(first, batch)
        for data in self._queued(sockets, int(first is not None)):
            self._accept(data, batch)
        self._count(batch)
        return batch.arrivals()

    def _queued(self, sockets: tuple[zmq.Socket[bytes], ...], taken: int) -> Iterator[bytes]:
        for socket in sockets:
            # Asking whether anything waits costs a third of a recv that finds nothing: the usual case, one frame.
            while taken < DRAIN_FRAMES_MAX and int(socket.get(zmq.EVENTS)) & _READABLE:
                try:
                    data = socket.recv(zmq.NOBLOCK)
                except zmq.Again:
                    break
                taken += 1
                yield data
        self.more = taken >= DRAIN_FRAMES_MAX

    def _accept(self, data: bytes, batch: _Batch) -> None:
        envelope = self._framing.decode(data)
        if isinstance(envelope, Dropped):
            self._drop(envelope.channel, envelope.reason)
            return
        channel = CHANNEL_OF[type(envelope.frame)]
        name = channel.name
        key = name if len(channel.publishers) == 1 else name + envelope.frame.process  # type: ignore[union-attr]
        step = self._tracker.follow(key, envelope.incarnation, envelope.seq)
        if step.order is not _NEXT:
            refused = _REFUSED.get(step.order)
            if refused is not None:
                self._drop(name, refused)
                return
            if step.missing:
                self._telemetry.count("grinder_bus_gaps_total", name, self._process, by=step.missing)
            batch.add_gap(Gap(name, 0 if step.order is Order.RESTARTED else step.missing))
        batch.add(envelope, name, latest_only=channel.policy is _LATEST)

    def _drop(self, channel: str, reason: DropReason) -> None:
        self._telemetry.count("grinder_bus_dropped_total", channel, reason)

    def _count(self, batch: _Batch) -> None:
        for channel, frames in batch.accepted.items():
            self._telemetry.count("grinder_bus_frames_total", channel, self._process, by=frames)
        if batch.superseded:
            self._telemetry.count("grinder_bus_superseded_total", self._process, by=batch.superseded)


class _Batch:
    """The arrivals of one drain, with superseded books and marks taken out."""

    __slots__ = ("_arrivals", "_newest", "accepted", "superseded")

    def __init__(self) -> None:
        self._arrivals: list[Arrival | None] = []
        self._newest: dict[tuple[type, str], int] = {}
        self.accepted: dict[str, int] = {}
        self.superseded = 0

    def add(self, envelope: Envelope[Frame], channel: str, *, latest_only: bool) -> None:
        self.accepted[channel] = self.accepted.get(channel, 0) + 1
        frame = envelope.frame
        if latest_only and isinstance(frame, _SUPERSEDED):
            key = (type(frame), frame.symbol)
            older = self._newest.get(key)
            if older is not None:
                self._arrivals[older] = None
                self.superseded += 1
            self._newest[key] = len(self._arrivals)
        self._arrivals.append(envelope)

    def add_gap(self, gap: Gap) -> None:
        self._arrivals.append(gap)

    def arrivals(self) -> list[Arrival]:
        return [arrival for arrival in self._arrivals if arrival is not None]


class Bus:
    """All sockets of one process, made from the channel table.

    Close it before the process gives up its slot: ZeroMQ removes a bound socket's file when it closes.
    """

    def __init__(
        self,
        *,
        run_dir: Path,
        process: Process,
        incarnation: int,
        term: Callable[[], int],
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._run_dir = run_dir
        self._process = process
        self._incarnation = incarnation
        self._term = term
        self._clock = clock
        self._telemetry = telemetry
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._sockets: list[zmq.Socket[bytes]] = []

    def publisher(self, channel: Channel) -> Publisher:
        """Return the sending end of a channel that this process publishes (asserted).

        Raises:
            zmq.ZMQError: if the socket cannot be bound.
        """
        assert self._process in channel.publishers
        pushed = channel.pattern is Pattern.PUSH_PULL
        socket = self._socket(zmq.PUSH if pushed else zmq.PUB)
        socket.setsockopt(zmq.SNDHWM, channel.hwm)
        if pushed:
            socket.setsockopt(zmq.IMMEDIATE, 1)
        self._attach(socket, channel)
        return Publisher(socket, channel, self._incarnation, self._term, self._clock, self._telemetry)

    def receiver(self, *channels: Channel) -> Receiver:
        """Return one receiving end for channels that this process consumes (asserted).

        Raises:
            zmq.ZMQError: if a socket cannot be bound.
        """
        assert channels
        assert all(self._process in channel.consumers for channel in channels)
        sockets = []
        for channel in channels:
            if channel.pattern is Pattern.PUSH_PULL:
                pull = self._socket(zmq.PULL)
                pull.setsockopt(zmq.RCVHWM, channel.hwm)
                self._attach(pull, channel)
                sockets.append(pull)
        published = [channel for channel in channels if channel.pattern is Pattern.PUB_SUB]
        if published:
            sub = self._socket(zmq.SUB)
            sub.setsockopt(zmq.RCVHWM, max(channel.hwm for channel in published))
            sub.setsockopt(zmq.SUBSCRIBE, b"")
            for channel in published:
                self._attach(sub, channel)
            sockets.append(sub)
        return Receiver(tuple(sockets), channels, self._process, self._telemetry)

    def close(self) -> None:
        """Close every socket at once; what is still queued is lost."""
        for socket in self._sockets:
            socket.close(linger=0)
        self._context.term()

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        self._sockets.append(socket)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MS_MAX)
        socket.setsockopt(zmq.MAXMSGSIZE, FRAME_BYTES_DISCONNECT)
        return socket

    def _attach(self, socket: zmq.Socket[bytes], channel: Channel) -> None:
        """Bind where the table says this process binds, else connect."""
        address = f"ipc://{socket_path(self._run_dir, channel)}"
        if channel.binds is not self._process:
            socket.connect(address)
            return
        for tries_left in reversed(range(BIND_TRIES_MAX)):
            try:
                socket.bind(address)
                return
            except zmq.ZMQError:
                if tries_left == 0:
                    raise
                # The socket's file of a killed predecessor: only the holder of the slot comes here.
                socket_path(self._run_dir, channel).unlink(missing_ok=True)
                time.sleep(_BIND_RETRY_S)
