"""Whatever arrives on a real socket of the simulated venue: a documented answer or a closed connection, soon.

Invariant: never a stack trace, never an HTTP 500, never a connection that hangs; the venue serves the next client.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from grinder.sim.exchange.operations import BY_ROUTE, BY_WS_METHOD
from grinder.sim.wire.assembly import VenueConfig
from grinder.sim.wire.sockets import SocketPace
from tests.sim_kit import GENEROUS, KEY, running

WAIT_S = 5.0
HEAD_S = 0.4
QUIET_S = 0.03
CONFIG = VenueConfig(tape="step", hold=True, limits=GENEROUS, pace=SocketPace(head_s_max=HEAD_S))
FUZZ = settings(
    deadline=None,
    max_examples=80,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
"""The same examples every time; a failure is not made smaller, for each step may wait."""


class Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Run a venue in a thread of its own; nothing it logs while it is fuzzed is an error."""
    errors, ready, stop = Errors(), threading.Event(), threading.Event()
    ports: list[int] = []

    async def serve() -> None:
        async with running(CONFIG) as server:
            ports.append(server.port)
            ready.set()
            while not stop.is_set():
                await asyncio.sleep(0.02)

    logging.getLogger().addHandler(errors)
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(WAIT_S)
    yield ports[0]
    stop.set()
    thread.join(WAIT_S)
    logging.getLogger().removeHandler(errors)
    assert not errors.records


def connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), WAIT_S)
    sock.settimeout(WAIT_S)
    return sock


def drained(sock: socket.socket) -> bytes:
    """Everything until the venue closes; a connection that stays open past WAIT_S is a failure."""
    got = b""
    try:
        while chunk := sock.recv(65_536):
            got += chunk
    except ConnectionError:
        pass
    return got


def exchanged(port: int, raw: bytes, quiet_s: float = WAIT_S) -> bytes:
    """Send bytes and return the answer, until the venue closes; after ``quiet_s`` without a byte the client closes."""
    got = b""
    with connect(port) as sock:
        try:
            sock.sendall(raw)
            while select.select([sock], [], [], quiet_s)[0]:
                chunk = sock.recv(65_536)
                if not chunk:
                    return got
                got += chunk
            assert quiet_s < WAIT_S, "the venue neither answers nor closes"
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            return got
        return got + drained(sock)


def check(answer: bytes) -> None:
    assert b"Traceback" not in answer
    assert b'File "' not in answer
    if answer:
        assert answer.startswith(b"HTTP/1."), answer[:100]
        assert answer.split(b" ", 2)[1] in (b"200", b"101", b"400", b"401", b"403", b"404", b"405", b"413", b"431")


def alive(port: int) -> None:
    answer = exchanged(port, b"GET /fapi/v1/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200"), answer


TEXT = st.text(max_size=40)
LATIN = st.binary(max_size=60).map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b"").replace(b" ", b""))
ODD_NUMBERS = st.sampled_from([b"9" * 400, b"-1", b"1e999", b"NaN", b"0x10", b"\xff", b"%00", b"[]", b"true", b""])
PAIRS = st.lists(
    st.tuples(
        st.sampled_from([b"symbol", b"timestamp", b"recvWindow", b"signature", b"price", b"limit", b"batchOrders"])
        | LATIN,
        ODD_NUMBERS | LATIN | st.just(b"BTCUSDT"),
    ),
    max_size=8,
)
ROUTES = sorted(BY_ROUTE)


@FUZZ
@given(st.binary(max_size=400))
@example(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
@example(b"GET / HTTP/9.9\r\n\r\n")
@example(b"GET /fapi/v1/time HTTP/1.1\r\nContent-Length: -5\r\n\r\n")
@example(b"POST /fapi/v1/order HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
@example(b"GET /fapi/v1/time HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70_000 + b"\r\n\r\n")
@example(b"GET /fapi/v1/time?" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
@example(b"GET /sim/orders?limit=x HTTP/1.1\r\nHost: x\r\n\r\n")
def test_bytes_when_anything_then_answered_or_closed(port: int, raw: bytes) -> None:
    check(exchanged(port, raw, QUIET_S))
    alive(port)


@FUZZ
@given(st.sampled_from(ROUTES), PAIRS, PAIRS, LATIN, st.integers(-2, 3))
def test_request_when_its_parts_are_anything_then_documented_code(
    port: int,
    route: tuple[str, str],
    query: list[tuple[bytes, bytes]],
    form: list[tuple[bytes, bytes]],
    key: bytes,
    extra: int,
) -> None:
    method, path = route
    search, body = (b"&".join(name + b"=" + value for name, value in pairs) for pairs in (query, form))
    head = b"%b %b?%b HTTP/1.1\r\nHost: x\r\nX-MBX-APIKEY: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    raw = head % (method.encode(), path.encode(), search, key or KEY.encode(), max(0, len(body) + extra))
    answer = exchanged(port, raw + body, QUIET_S)
    check(answer)
    status, _, content = answer.partition(b"\r\n\r\n")
    if b"application/json" in status and not status.startswith(b"HTTP/1.1 200"):
        assert msgspec.json.decode(content)["code"] < 0


def frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    mask = b"\x01\x02\x03\x04" if masked else b""
    data = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload)) if masked else payload
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    bit = 0x80 if masked else 0
    if len(payload) < 126:
        return head + bytes([bit | len(payload)]) + mask + data
    return head + bytes([bit | 126]) + struct.pack("!H", len(payload)) + mask + data


HANDSHAKE = (
    b"GET %b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PATHS = (b"/ws-fapi/v1", b"/public/ws", b"/market/stream", b"/private/ws?listenKey=x", b"/ws/" + b"a/" * 2_000)
METHODS = (*sorted(BY_WS_METHOD), "SUBSCRIBE", "SET_PROPERTY", "session.logon", "session.status", "session.logout")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
CALLS = st.fixed_dictionaries({}, optional={"id": JSON, "method": st.sampled_from(METHODS) | JSON, "params": JSON})
PAYLOADS = st.binary(max_size=300) | CALLS.map(msgspec.json.encode)
FRAMES = st.builds(
    frame,
    st.sampled_from([0, 1, 1, 1, 2, 2, 3, 8, 9, 10, 15]),
    PAYLOADS,
    fin=st.booleans() | st.just(True),
    masked=st.just(True) | st.booleans(),
    reserved=st.sampled_from([0, 0, 0, 4]),
)


@FUZZ
@given(st.sampled_from(PATHS), st.lists(FRAMES, max_size=6))
@example(b"/ws-fapi/v1", [frame(2, b"\xff\x00"), frame(1, b"\xff\xfe")])
@example(b"/ws-fapi/v1", [frame(1, b'{"id":1,"method":"depth","params":{"symbol":"BTCUSDT","limit":1e400}}')])
@example(b"/ws-fapi/v1", [frame(1, b"[" * 60_000)])
@example(b"/public/ws", [frame(1, b'{"id":1,"method":"SUBSCRIBE","params":["\\ud800@trade"]}')])
@example(b"/public/ws", [frame(1, b"{", fin=False), frame(9, b"x"), frame(0, b"}")])
def test_frames_when_anything_then_the_connection_ends_when_the_client_does(
    port: int, path: bytes, frames: list[bytes]
) -> None:
    answer = exchanged(port, HANDSHAKE % path + b"".join(frames) + frame(8, struct.pack("!H", 1000)), QUIET_S)
    check(answer)
    alive(port)


def test_message_when_too_long_then_the_connection_is_closed(port: int) -> None:
    with connect(port) as sock:
        sock.sendall(HANDSHAKE % b"/ws-fapi/v1")
        sock.recv(65_536)
        sock.sendall(bytes([0x81, 0xFF]) + struct.pack("!Q", 2**40) + b"\x00" * 4)
        assert b"\x03\xf1" in drained(sock)
    alive(port)


@pytest.mark.parametrize("drip", [b"", b"GET /fapi", b"GET /fapi/v1/time HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_client_when_it_never_ends_its_request_then_cut_soon_and_others_are_served(port: int, drip: bytes) -> None:
    with connect(port) as sock:
        sock.sendall(drip)
        began = time.monotonic()
        alive(port)
        assert drained(sock) == b""
        assert time.monotonic() - began < WAIT_S
    alive(port)


def test_connections_when_all_clients_are_gone_then_none_is_kept(port: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while True:
        state = exchanged(port, b"GET /sim/state HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        if msgspec.json.decode(state.partition(b"\r\n\r\n")[2])["connections"] == 0:
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(os.listdir("/proc/self/fd")) < 200
