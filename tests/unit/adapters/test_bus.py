from __future__ import annotations

import os
import select
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import zmq

from grinder.adapters.bus import Arrival, Bus, Receiver, socket_path
from grinder.adapters.clock import SystemClock
from grinder.adapters.telemetry import Recorder
from grinder.core.sequence import Gap
from grinder.model.account import SyncError
from grinder.model.channels import ACCOUNT, INTENTS, MARKET, ORDERS, STATE, TELEMETRY
from grinder.model.control import Process
from grinder.model.frames import Envelope, Telemetry
from grinder.model.limits import DRAIN_FRAMES_MAX, FRAME_BYTES_MAX
from grinder.model.market import BookTop, TradeTick
from grinder.model.orders import CommandRefused, OrderBudget, ResyncOrders

CLOCK = SystemClock()

BOUND_S = 30.0
"""Bound of every wait, seconds: a host may be busy with other tests."""


class Tree:
    """Buses of several processes in one directory, each with its own recorder."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.buses: list[Bus] = []

    def bus(self, process: Process, incarnation: int = 1) -> tuple[Bus, Recorder]:
        recorder = Recorder(process, os.getpid(), incarnation, CLOCK)
        bus = Bus(
            run_dir=self.run_dir,
            process=process,
            incarnation=incarnation,
            term=lambda: 0,
            clock=CLOCK,
            telemetry=recorder,
        )
        self.buses.append(bus)
        return bus, recorder


@pytest.fixture
def tree() -> Iterator[Tree]:
    run_dir = Path(tempfile.mkdtemp(dir="/tmp"))
    tree = Tree(run_dir)
    yield tree
    for bus in tree.buses:
        bus.close()
    shutil.rmtree(run_dir)


def value_of(recorder: Recorder, name: str, *labels: str) -> float:
    return sum(value for series, found, value in recorder.snapshot().series if (series, found) == (name, labels))


def book(symbol: str, update_id: int) -> BookTop:
    return BookTop(symbol, Decimal(1), Decimal(1), Decimal(2), Decimal(1), update_id, 0, 0, 0)


def trade(trade_id: int) -> TradeTick:
    return TradeTick("BTCUSDT", trade_id, Decimal(1), Decimal(1), True, 0, 0)


def refused(number: int) -> CommandRefused:
    return CommandRefused(str(number), "BTCUSDT", "cancel", "why")


def collect(receiver: Receiver, enough: Callable[[list[Arrival]], bool], bound_s: float = BOUND_S) -> list[Arrival]:
    """Drain until ``enough`` or the bound."""
    arrivals: list[Arrival] = []
    deadline = time.monotonic() + bound_s
    while not enough(arrivals) and time.monotonic() < deadline:
        arrivals += receiver.wait(20)
    return arrivals


def joined(receiver: Receiver, announce: Callable[[], object]) -> list[Arrival]:
    """Announce until something arrives: a subscriber is connected only some time after it asked."""
    arrivals: list[Arrival] = []
    deadline = time.monotonic() + BOUND_S
    while not arrivals and time.monotonic() < deadline:
        announce()
        arrivals = receiver.wait(20)
    assert arrivals
    return [*arrivals, *receiver.drain()]


def frames_of(arrivals: list[Arrival]) -> list[object]:
    return [arrival.frame for arrival in arrivals if isinstance(arrival, Envelope)]


def gaps_of(arrivals: list[Arrival]) -> list[Gap]:
    return [arrival for arrival in arrivals if isinstance(arrival, Gap)]


def test_receiver_when_frames_are_sent_then_they_come_in_order_with_their_envelope(tree: Tree) -> None:
    sender, _ = tree.bus(Process.EXECUTOR, incarnation=7)
    taker, recorder = tree.bus(Process.FSM)
    publisher, receiver = sender.publisher(ORDERS), taker.receiver(ORDERS)
    joined(receiver, lambda: publisher.send(refused(0)))
    for number in range(1, 100):
        assert publisher.send(refused(number))
    arrivals = collect(receiver, lambda got: len(got) >= 99)
    assert frames_of(arrivals)[-99:] == [refused(number) for number in range(1, 100)]
    last = arrivals[-1]
    assert isinstance(last, Envelope)
    assert (last.seq, last.incarnation, last.term) == (publisher.seq, 7, 0)
    assert value_of(recorder, "grinder_bus_frames_total", "orders", "fsm") >= 99


def test_receiver_when_several_channels_then_one_socket_carries_them(tree: Tree) -> None:
    orders, account = tree.bus(Process.EXECUTOR)[0].publisher(ORDERS), tree.bus(Process.SYNCER)[0].publisher(ACCOUNT)
    receiver = tree.bus(Process.FSM)[0].receiver(MARKET, ORDERS, ACCOUNT)
    assert len(receiver.filenos()) == 1
    joined(receiver, lambda: orders.send(refused(0)))
    joined(receiver, lambda: account.send(SyncError("timeout", "")))


def test_receiver_when_pushed_and_published_channels_then_both_arrive(tree: Tree) -> None:
    receiver = tree.bus(Process.EXECUTOR)[0].receiver(INTENTS, ACCOUNT)
    intents = tree.bus(Process.FSM)[0].publisher(INTENTS)
    account = tree.bus(Process.SYNCER)[0].publisher(ACCOUNT)
    assert len(receiver.filenos()) == 2
    kinds: set[type] = set()
    deadline = time.monotonic() + BOUND_S
    while kinds != {ResyncOrders, SyncError} and time.monotonic() < deadline:
        intents.send(ResyncOrders(0))
        account.send(SyncError("timeout", ""))
        select.select(receiver.filenos(), (), (), 0.02)
        kinds |= {type(frame) for frame in frames_of(list(receiver.drain()))}
    assert kinds == {ResyncOrders, SyncError}


def test_drain_when_nothing_can_be_superseded_then_a_frame_is_handed_over_before_the_next_is_read(tree: Tree) -> None:
    bus, recorder = tree.bus(Process.EXECUTOR)
    receiver, intents = bus.receiver(INTENTS, ACCOUNT), tree.bus(Process.FSM)[0].publisher(INTENTS)
    sent, taken = 0, 0
    deadline = time.monotonic() + BOUND_S
    while taken < 3 and time.monotonic() < deadline:
        sent += sent < 3 and intents.send(ResyncOrders(sent))
        if sent < 3:
            continue
        for arrival in receiver.drain():
            assert isinstance(arrival, Envelope)
            assert arrival.frame == ResyncOrders(taken)
            # What is counted has been handed over: had the others been read by now, they would be in it.
            assert value_of(recorder, "grinder_bus_frames_total", "intents", "executor") == taken
            taken += 1
    assert taken == 3


def test_send_when_pushed_and_no_peer_then_false_and_no_number_is_used(tree: Tree) -> None:
    bus, recorder = tree.bus(Process.FSM)
    publisher = bus.publisher(INTENTS)
    assert not publisher.send(ResyncOrders(0))
    assert publisher.seq == 0
    assert value_of(recorder, "grinder_bus_send_failed_total", "intents") == 1


def test_send_when_pushed_and_queue_is_full_then_false_and_the_rest_comes_without_gap(tree: Tree) -> None:
    receiver = tree.bus(Process.EXECUTOR)[0].receiver(INTENTS)
    publisher = tree.bus(Process.FSM)[0].publisher(INTENTS)
    deadline = time.monotonic() + BOUND_S
    while not publisher.send(ResyncOrders(0)) and time.monotonic() < deadline:
        receiver.wait(10)
    sent = 1
    while publisher.send(ResyncOrders(sent)):
        sent += 1
        assert sent < 1_000_000
    arrivals = collect(receiver, lambda got: len(got) >= sent)
    assert frames_of(arrivals) == [ResyncOrders(number) for number in range(sent)]
    assert gaps_of(arrivals) == []


def test_send_when_the_peer_died_with_frames_unread_then_its_successor_gets_only_new_ones(tree: Tree) -> None:
    publisher = tree.bus(Process.FSM)[0].publisher(INTENTS)
    first, _ = tree.bus(Process.EXECUTOR, incarnation=1)
    joined(first.receiver(INTENTS), lambda: publisher.send(ResyncOrders(0)))
    while publisher.send(ResyncOrders(1)):
        assert publisher.seq < 1_000_000
    first.close()
    second = tree.bus(Process.EXECUTOR, incarnation=2)[0].receiver(INTENTS)
    arrivals = joined(second, lambda: publisher.send(ResyncOrders(2)))
    assert set(frames_of(arrivals)) == {ResyncOrders(2)}


def test_send_when_frame_is_too_large_then_false(tree: Tree) -> None:
    bus, recorder = tree.bus(Process.SYNCER)
    assert not bus.publisher(ACCOUNT).send(SyncError("x" * FRAME_BYTES_MAX, ""))
    assert value_of(recorder, "grinder_bus_send_failed_total", "account") == 1


def test_send_when_frame_belongs_to_another_channel_then_assertion(tree: Tree) -> None:
    publisher = tree.bus(Process.FSM)[0].publisher(INTENTS)
    with pytest.raises(AssertionError):
        publisher.send(trade(1))


def test_publisher_when_process_may_not_publish_then_assertion(tree: Tree) -> None:
    with pytest.raises(AssertionError):
        tree.bus(Process.METRICS)[0].publisher(INTENTS)


def test_receiver_when_consumer_is_slow_then_the_lost_frames_are_one_counted_gap(tree: Tree) -> None:
    publisher = tree.bus(Process.SYNCER)[0].publisher(ACCOUNT)
    taker, recorder = tree.bus(Process.FSM)
    receiver = taker.receiver(ACCOUNT)
    joined(receiver, lambda: publisher.send(SyncError("0", "")))
    first = publisher.seq
    text = "x" * 2_000
    for _ in range(3 * ACCOUNT.hwm):
        assert publisher.send(SyncError("flood", text))
    arrivals = collect(receiver, lambda got: bool(got) and not receiver.more, bound_s=10)
    while more := receiver.wait(200):
        arrivals += more
    got = joined(receiver, lambda: publisher.send(SyncError("last", "")))
    arrivals += got
    missing = sum(gap.missing for gap in gaps_of(arrivals))
    last = got[-1]
    assert isinstance(last, Envelope)
    assert missing > 0
    assert missing + len(frames_of(arrivals)) == last.seq - first
    assert value_of(recorder, "grinder_bus_gaps_total", "account", "fsm") == missing


def test_receiver_when_publisher_restarts_then_gap_of_zero_before_its_first_frame(tree: Tree) -> None:
    old, _ = tree.bus(Process.EXECUTOR, incarnation=1)
    receiver = tree.bus(Process.FSM)[0].receiver(ORDERS)
    publisher = old.publisher(ORDERS)
    joined(receiver, lambda: publisher.send(refused(0)))
    old.close()
    reborn = tree.bus(Process.EXECUTOR, incarnation=2)[0].publisher(ORDERS)
    arrivals = joined(receiver, lambda: reborn.send(refused(1)))
    assert arrivals[0] == Gap("orders", 0)
    assert frames_of(arrivals)[0] == refused(1)


def test_receiver_when_an_older_incarnation_speaks_then_dropped_and_counted(tree: Tree) -> None:
    taker, recorder = tree.bus(Process.METRICS)
    receiver = taker.receiver(TELEMETRY)
    young = tree.bus(Process.FEED, incarnation=5)[0].publisher(TELEMETRY)
    old = tree.bus(Process.FEED, incarnation=4)[0].publisher(TELEMETRY)
    frame = Telemetry(Process.FEED, 1, 5, (), (), 0)
    joined(receiver, lambda: young.send(frame))
    deadline = time.monotonic() + BOUND_S
    name = ("grinder_bus_dropped_total", "telemetry", "old_incarnation")
    while not value_of(recorder, *name) and time.monotonic() < deadline:
        old.send(frame)
        assert frames_of(receiver.wait(20)) == []
    assert value_of(recorder, *name) >= 1


def test_receiver_when_several_processes_push_one_channel_then_tracked_apart(tree: Tree) -> None:
    receiver = tree.bus(Process.METRICS)[0].receiver(TELEMETRY)
    senders = {
        process: tree.bus(process, incarnation=number)[0].publisher(TELEMETRY)
        for number, process in enumerate((Process.FEED, Process.FSM, Process.EXECUTOR), start=10)
    }
    arrivals: list[Arrival] = []
    for _ in range(5):
        for process, publisher in senders.items():
            deadline = time.monotonic() + BOUND_S
            while not publisher.send(Telemetry(process, 1, 1, (), (), 0)) and time.monotonic() < deadline:
                arrivals += receiver.wait(10)
    arrivals += collect(receiver, lambda got: len(arrivals) + len(got) >= 15)
    assert gaps_of(arrivals) == []
    assert len(frames_of(arrivals)) == 15


def test_drain_when_books_wait_then_only_the_newest_per_symbol_and_every_trade(tree: Tree) -> None:
    publisher = tree.bus(Process.FEED)[0].publisher(MARKET)
    taker, recorder = tree.bus(Process.FSM)
    receiver = taker.receiver(MARKET)
    joined(receiver, lambda: publisher.send(trade(0)))
    for number in range(1, 51):
        publisher.send(book("BTCUSDT", number))
        publisher.send(trade(number))
        publisher.send(book("ETHUSDT", number))
    last = publisher.seq
    arrivals: list[Arrival] = []
    deadline = time.monotonic() + BOUND_S
    while not any(isinstance(a, Envelope) and a.seq == last for a in arrivals) and time.monotonic() < deadline:
        arrivals += receiver.wait(20)
    frames = frames_of(arrivals)
    trades = [frame.trade_id for frame in frames if isinstance(frame, TradeTick)]
    books = [frame for frame in frames if isinstance(frame, BookTop)]
    assert trades == sorted(trades)
    assert trades[-50:] == list(range(1, 51))
    assert books[-1] == book("ETHUSDT", 50)
    assert book("BTCUSDT", 50) in books
    assert gaps_of(arrivals) == []
    assert len(books) == 100 - value_of(recorder, "grinder_bus_superseded_total", "fsm")


def test_drain_when_more_waits_than_its_bound_then_it_says_so(tree: Tree) -> None:
    publisher = tree.bus(Process.EXECUTOR)[0].publisher(ORDERS)
    receiver = tree.bus(Process.FSM)[0].receiver(ORDERS)
    joined(receiver, lambda: publisher.send(refused(0)))
    total = 2 * DRAIN_FRAMES_MAX
    for number in range(total):
        publisher.send(refused(number))
    got: list[Arrival] = []
    sizes = []
    deadline = time.monotonic() + BOUND_S
    while len(got) < total and time.monotonic() < deadline:
        batch = receiver.wait(20)
        sizes.append((len(batch), receiver.more))
        got += batch
    assert len(got) == total
    assert max(size for size, _ in sizes) <= DRAIN_FRAMES_MAX
    assert all(size == DRAIN_FRAMES_MAX for size, more in sizes if more)


def test_receiver_when_bytes_are_bad_then_counted_and_the_next_frame_still_comes(tree: Tree) -> None:
    taker, recorder = tree.bus(Process.FSM)
    receiver = taker.receiver(ORDERS)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    raw = context.socket(zmq.PUB)
    raw.bind(f"ipc://{socket_path(tree.run_dir, ORDERS)}")
    encode = msgspec.msgpack.encode
    good = iter(range(1, 10_000))
    try:
        joined(receiver, lambda: raw.send(encode(Envelope(next(good), 1, 0, 0, refused(0)))))
        body = msgspec.msgpack.decode(encode(Envelope(next(good), 1, 0, 0, OrderBudget(1, 2, 3))))
        wrong = [*body[:4], ["OrderBudget", "many", 2, 3]]
        unknown = [*body[:4], ["NoSuchFrame", 1]]
        raw.send(b"\xc1")
        raw.send(encode(body)[:-2])
        raw.send(encode(wrong))
        raw.send(encode(unknown))
        raw.send(bytes(10 << 20))
        last = next(good)
        raw.send(encode(Envelope(last, 1, 0, 0, refused(last))))
        arrivals = collect(receiver, lambda got: refused(last) in frames_of(got))
    finally:
        context.destroy(linger=0)
    assert frames_of(arrivals) == [refused(last)]
    assert gaps_of(arrivals) == [Gap("orders", 1)]
    drops = {labels: value for name, labels, value in recorder.snapshot().series if name == "grinder_bus_dropped_total"}
    assert drops == {
        ("unknown", "truncated"): 2,
        ("orders", "wrong_type"): 1,
        ("unknown", "unknown_event"): 1,
        ("unknown", "too_large"): 1,
    }


def test_publisher_when_a_stale_socket_file_lies_there_then_bound(tree: Tree) -> None:
    socket_path(tree.run_dir, STATE).write_bytes(b"")
    tree.bus(Process.FSM)[0].publisher(STATE)
    assert socket_path(tree.run_dir, STATE).is_socket()
