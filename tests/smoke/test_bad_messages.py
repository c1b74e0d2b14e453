"""Messages that nobody should send, into the running tree: each is counted and dropped, and the loop trades on.

A hostile publisher on the market, orders, account or state channel cannot be had: there the publisher's socket is
bound, and the slot lock lets one process bind it. So the channels that others push into are tried here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal

import msgspec
import pytest
import zmq

from grinder.adapters.bus import socket_path
from grinder.model.channels import INTENTS, TELEMETRY, Channel
from grinder.model.control import FsmState
from grinder.model.frames import Envelope
from grinder.model.limits import FRAME_BYTES_DISCONNECT, FRAME_BYTES_MAX
from grinder.model.market import BookTop
from grinder.model.orders import OrderKind, Place, Side, TimeInForce
from grinder.model.reasons import PlanReason
from grinder.model.units import NS_PER_S
from tests.smoke.conditions import PATIENCE_S, wait_for
from tests.smoke.trees import TreeUnderTest
from tests.smoke.truth import believed, require_agreement, require_sound
from tests.smoke.venues import VenueView

BIG = 10 << 20
TICKER = (
    '{"stream":"btcusdt@bookTicker","data":{"e":"%(e)s","u":%(u)s,"s":"%(s)s","b":"%(b)s","B":"1","a":"%(a)s",'
    '"A":"1","T":1,"E":1}}'
)
GOOD = {"e": "bookTicker", "u": "9000000000000000000", "s": "BTCUSDT", "b": "60000.0", "a": "60000.1"}
TRADE = (
    '{"e":"ORDER_TRADE_UPDATE","E":1,"T":1,"o":{"s":"BTCUSDT","c":"grd-0-x-b1","i":1,"S":"%(S)s","x":"NEW","X":"NEW",'
    '"p":"%(p)s","q":%(q)s,"z":"0"}}'
)
SOUND = {"S": "BUY", "p": "60000", "q": '"0.002"'}


def ticker(**changes: str) -> bytes:
    """Return a best price as the venue sends it, with changes."""
    return (TICKER % (GOOD | changes)).encode()


def order_event(**changes: str) -> bytes:
    """Return an order event as the venue sends it, with changes."""
    return (TRADE % (SOUND | changes)).encode()


MARKET = [
    ("crossed_book", ticker(b="60001.0"), 0),
    ("not_finite", ticker(a="NaN"), 0),
    ("unknown_symbol", ticker(s="DOGEUSDT"), 0),
    ("truncated", ticker()[:-20], 0),
    ("too_large", ticker(), BIG),
    ("unknown_event", ticker(e="bookTickler"), 0),
    ("wrong_type", ticker(u='"many"'), 0),
]
USER = [
    ("an unknown enum", order_event(S="SIDEWAYS"), 0),
    ("NaN", order_event(p="NaN"), 0),
    ("a truncated frame", order_event()[:-9], 0),
    ("a wrong type", order_event(q="{}"), 0),
    ("a frame of 10 MB", order_event(), BIG),
]


@pytest.fixture(scope="module")
def tree() -> Iterator[TreeUnderTest]:
    busy = TreeUnderTest(GRINDER_PAPER_SPACING_BPS="2", GRINDER_PAPER_COOLDOWN_MS="0")
    try:
        busy.start()
        wait_for(lambda: busy.ready() and busy.state() is FsmState.ACTIVE and believed(busy), "ACTIVE with orders")
        yield busy
    finally:
        busy.remove()


def require_alive(tree: TreeUnderTest, pids: dict[str, int]) -> None:
    """Require that the loop is ready, no process was started anew, and orders go on moving."""
    before = tree.venue.counts()["amended"]
    wait_for(lambda: tree.ready() and tree.venue.counts()["amended"] > before, "ready, and orders move")
    assert tree.pids() == pids


def inject(venue: VenueView, stream: str, payload: bytes, size: int) -> int:
    """Send raw bytes to everyone who listens to a stream; return to how many."""
    return int(venue.post(f"inject?stream={stream}&bytes={size}", payload)["sent"])


@pytest.mark.parametrize(("reason", "payload", "size"), MARKET, ids=[row[0] for row in MARKET])
def test_feed_when_a_market_message_is_bad_then_counted_by_its_reason_and_dropped(
    tree: TreeUnderTest, reason: str, payload: bytes, size: int
) -> None:
    pids = tree.pids()
    before = tree.count("grinder_feed_dropped_total", reason=reason)
    connects = tree.count("grinder_ws_reconnect_total", connector="bookTicker")
    assert inject(tree.venue, "btcusdt@bookTicker", payload, size) == 1
    wait_for(lambda: tree.count("grinder_feed_dropped_total", reason=reason) == before + 1, f"{reason} counted")
    require_alive(tree, pids)
    assert tree.count("grinder_ws_reconnect_total", connector="bookTicker") == connects


@pytest.mark.parametrize(("what", "payload", "size"), USER, ids=[row[0].replace(" ", "-") for row in USER])
def test_user_streams_when_a_message_is_bad_then_each_counts_and_drops_it(
    tree: TreeUnderTest, what: str, payload: bytes, size: int
) -> None:
    pids = tree.pids()
    before = tree.count("grinder_user_stream_bad_payloads_total")
    connects = tree.count("grinder_ws_reconnect_total", connector="user_executor")
    assert inject(tree.venue, "user", payload, size) == 2
    wait_for(lambda: tree.count("grinder_user_stream_bad_payloads_total") == before + 2, f"{what} counted twice")
    require_alive(tree, pids)
    assert tree.count("grinder_ws_reconnect_total", connector="user_executor") == connects


def enveloped(frame: object) -> bytes:
    return msgspec.msgpack.encode(Envelope(1, 1, 0, 1, frame))


def intent(**changes: object) -> bytes:
    """Return an order to place as the fsm would send it, with fields replaced past every check."""
    now = 10**6 * NS_PER_S
    place = Place(
        "grd-0-x-b1",
        "BTCUSDT",
        Side.BUY,
        Decimal(60_000),
        Decimal("0.002"),
        TimeInForce.GTX,
        False,
        OrderKind.GRID,
        next(iter(PlanReason)),
        now,
        now,
    )
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(place))
    names = ["", *place.__struct_fields__]
    for name, value in changes.items():
        fields[names.index(name)] = value
    return enveloped(fields)


CROSSED = msgspec.msgpack.decode(
    msgspec.msgpack.encode(BookTop("BTCUSDT", Decimal(1), Decimal(1), Decimal(2), Decimal(1), 1, 1, 1, 1))
)
CROSSED[2] = "3"

INTENT = [
    ("wrong_type", "intents", intent(side="SIDEWAYS")),
    ("wrong_type", "intents", intent(reduce_only="perhaps")),
    ("not_finite", "intents", intent(price="NaN")),
    ("truncated", "unknown", intent()[:-7]),
    ("truncated", "unknown", b"\xc1" * 40),
    ("unknown_event", "unknown", enveloped(["Launch", 1])),
    ("unknown_event", "unknown", enveloped(CROSSED)),
    ("too_large", "unknown", intent() + bytes(BIG)),
    ("too_large", "unknown", bytes(FRAME_BYTES_MAX + 1)),
]
REPORT = [
    ("wrong_type", "telemetry", enveloped(["Telemetry", 5])),
    ("truncated", "unknown", b"\x95\x01"),
    ("unknown_event", "unknown", intent()),
    ("too_large", "unknown", bytes(BIG)),
]


@pytest.fixture
def push(tree: TreeUnderTest) -> Iterator[Callable[[Channel], zmq.Socket[bytes]]]:
    """Give sockets that send to a channel, whoever else does."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with ExitStack() as opened:
        opened.callback(context.term)

        def connect(channel: Channel) -> zmq.Socket[bytes]:
            socket = context.socket(zmq.PUSH)
            opened.callback(socket.close, 0)
            socket.connect(f"ipc://{socket_path(tree.run_dir, channel)}")
            return socket

        yield connect


@pytest.mark.parametrize(
    ("channel", "reason", "label", "data"),
    [
        pytest.param(channel, *row, id=f"{channel.name}-{row[0]}-{number}")
        for channel, rows in ((INTENTS, INTENT), (TELEMETRY, REPORT))
        for number, row in enumerate(rows)
    ],
)
def test_channel_when_a_pushed_message_is_bad_then_counted_and_dropped(
    tree: TreeUnderTest,
    push: Callable[[Channel], zmq.Socket[bytes]],
    channel: Channel,
    reason: str,
    label: str,
    data: bytes,
) -> None:
    pids = tree.pids()
    before = tree.count("grinder_bus_dropped_total", channel=label, reason=reason)
    push(channel).send(data)
    wait_for(
        lambda: tree.count("grinder_bus_dropped_total", channel=label, reason=reason) == before + 1, f"{reason} counted"
    )
    require_alive(tree, pids)


def test_channel_when_a_message_is_beyond_every_bound_then_only_its_sender_is_cut_off(
    tree: TreeUnderTest, push: Callable[[Channel], zmq.Socket[bytes]]
) -> None:
    pids = tree.pids()
    socket = push(INTENTS)
    with socket.get_monitor_socket(zmq.EVENT_DISCONNECTED) as cut:
        socket.send(bytes(FRAME_BYTES_DISCONNECT + 1))
        assert cut.poll(int(PATIENCE_S * 1_000)), "the executor keeps the connection"
        socket.disable_monitor()
    require_alive(tree, pids)


def test_tree_when_all_of_it_was_said_then_its_orders_are_those_of_the_venue(tree: TreeUnderTest) -> None:
    require_agreement(tree, tree.venue)
    require_sound(tree, tree.venue)
