"""What must hold between a venue and the processes that were killed in front of it: every difference, by its kind.

The venue's side is its own ground truth. Ours is the journal, with the records of files that were dropped long ago;
what the executor and the syncer say; and what the load asked for and was told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from grinder.adapters.journal_files import read_files, read_records
from grinder.core.fills import Spans, counted_qty, cover
from grinder.core.ledger import CountedRecord, PlaceRecord, Record, replay
from grinder.model.account import AccountState
from grinder.model.orders import OrdersSnapshot, OrderState
from grinder.model.units import ZERO
from tests.smoke.venues import ROWS, VenueView
from tests.soak.mortal_ports import keep_files

_decode = msgspec.msgpack.Decoder(Record).decode


class Wrong(StrEnum):
    """Kinds of difference."""

    DUPLICATE = "a placement reached the venue twice"
    NOBODY_ASKED = "the venue has an order that nobody asked for"
    NOT_ON_RECORD = "the venue has an order that the journal never knew"
    UNRESOLVED = "the journal has an intent without an end, or an order is in doubt"
    UNMANAGED = "an order rests at the venue that the executor does not have, or the other way round"
    FILLS_DIFFER = "the journal counted another quantity of an order than the venue filled"
    TOLD_TOO_MUCH = "more was published as filled than was filled"
    POSITION_DIFFERS = "the position is not what the counted fills make, or not what the syncer says"
    LEFT_BEHIND = "an order rests after an orderly stop"
    UNCLEAN = "an orderly stop did not end well, or something never came to rest"


Findings = list[tuple[Wrong, str]]


class Paper:
    """Everything that the journal has ever said."""

    def __init__(self, journal: Path, archive: Path) -> None:
        keep_files(journal, archive)
        self._current = tuple(read_records(journal))
        self.places: dict[str, PlaceRecord] = {}
        self.counted: dict[str, Spans] = {}
        for file in read_files(archive):
            for record in map(_decode, file.records()):
                if isinstance(record, PlaceRecord):
                    self.places[record.place.client_order_id] = record
                elif isinstance(record, CountedRecord):
                    spans = self.counted.get(record.client_order_id, ())
                    self.counted[record.client_order_id] = cover(spans, record.start, record.end)[0]

    def open_orders(self) -> tuple[str, ...]:
        """Return the orders that the next executor would find without an end."""
        return tuple(replay(self._current).orders)

    def counted_qty(self, client_order_id: str) -> Decimal:
        """Return how much of an order was counted as filled."""
        return counted_qty(self.counted.get(client_order_id, ()))


class Truth:
    """What the venue says, read once."""

    def __init__(self, venue: VenueView) -> None:
        requests = venue.get(f"requests?limit={ROWS}")
        self.placed = Counter(row["client_id"] for row in requests if row["op"] == "order.place")
        self.faults = Counter(row["fault"] for row in requests)
        self.orders: dict[str, dict[str, Any]] = {}
        self.twins: list[str] = []
        for row in venue.get(f"orders?limit={ROWS}"):
            if row["clientOrderId"] in self.orders:
                self.twins.append(row["clientOrderId"])
            self.orders[row["clientOrderId"]] = row
        self.live = {name: row for name, row in self.orders.items() if row["live"]}
        self.position = sum(venue.positions().values(), ZERO)
        self.traded = sum(venue.traded().values(), ZERO)


def judge_commands(truth: Truth, paper: Paper, asked: set[str]) -> Findings:
    """Compare what reached the venue with what was asked for and what is on record."""
    findings = [(Wrong.DUPLICATE, f"{name} x{times}") for name, times in truth.placed.items() if times > 1]
    findings += [(Wrong.DUPLICATE, f"{name}: two orders") for name in truth.twins]
    reached = dict.fromkeys((*truth.placed, *truth.orders))
    findings += [(Wrong.NOBODY_ASKED, name) for name in reached if name not in asked]
    findings += [(Wrong.NOT_ON_RECORD, name) for name in reached if name not in paper.places]
    return findings


def judge_fills(truth: Truth, paper: Paper, told: dict[str, Decimal]) -> Findings:
    """Compare what was filled with what was counted and published."""
    findings: Findings = []
    position = ZERO
    for name, row in truth.orders.items():
        filled, counted = Decimal(row["executedQty"]), paper.counted_qty(name)
        position += counted if row["side"] == "BUY" else -counted
        if filled != counted:
            findings.append((Wrong.FILLS_DIFFER, f"{name}: filled {filled}, counted {counted}"))
        if told.get(name, ZERO) > filled:
            findings.append((Wrong.TOLD_TOO_MUCH, f"{name}: filled {filled}, published {told[name]}"))
    if not truth.position == truth.traded == position:
        sums = f"venue {truth.position}, trades {truth.traded}, journal {position}"
        findings.append((Wrong.POSITION_DIFFERS, sums))
    return findings


def judge_running(truth: Truth, snapshot: OrdersSnapshot, account: AccountState) -> Findings:
    """Compare what rests with what the living say; the market stands still meanwhile."""
    ours = {update.client_order_id: update for update in snapshot.orders}
    findings = [(Wrong.UNMANAGED, f"only at the venue: {name}") for name in truth.live if name not in ours]
    findings += [(Wrong.UNMANAGED, f"only in the executor: {name}") for name in ours if name not in truth.live]
    findings += [(Wrong.UNRESOLVED, name) for name, order in ours.items() if order.state is OrderState.IN_DOUBT]
    for name in ours.keys() & truth.live.keys():
        row, order = truth.live[name], ours[name]
        theirs = (Decimal(row["price"]), Decimal(row["origQty"]), Decimal(row["executedQty"]))
        if theirs != (order.price, order.qty, order.filled_qty):
            said = f"{order.price} {order.qty} {order.filled_qty}"
            findings.append((Wrong.UNMANAGED, f"{name}: venue {theirs}, executor {said}"))
    held = sum((position.qty for position in account.positions), ZERO)
    if held != truth.position or not account.reconciled:
        detail = f"venue {truth.position}, syncer {held}, reconciled {account.reconciled}"
        findings.append((Wrong.POSITION_DIFFERS, detail))
    return findings


def judge_stopped(truth: Truth, paper: Paper, code: int) -> Findings:
    """Look at what an orderly stop has left."""
    findings = [(Wrong.LEFT_BEHIND, name) for name in truth.live]
    findings += [(Wrong.UNRESOLVED, name) for name in paper.open_orders()]
    return findings + ([(Wrong.UNCLEAN, f"the executor ended with {code}")] if code else [])


def kinds(findings: Findings) -> set[Wrong]:
    """Return the kinds of difference that were found."""
    return {wrong for wrong, _ in findings}


def told(findings: Findings) -> Iterator[str]:
    """Yield the findings as lines."""
    for wrong, detail in findings:
        yield f"{wrong.name}: {detail}"
