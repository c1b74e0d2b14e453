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


class Paper(msgspec.Struct):
    """Everything that the journal has ever said.

    ``placed``: ids of all placements on record; ``counted``: spans of each order that were counted as filled;
    ``open_orders``: what the next executor would find without an end.
    """

    placed: set[str]
    counted: dict[str, Spans]
    open_orders: tuple[str, ...]

    def counted_qty(self, client_order_id: str) -> Decimal:
        """Return how much of an order was counted as filled."""
        return counted_qty(self.counted.get(client_order_id, ()))


class Truth(msgspec.Struct):
    """What the venue says. ``twins``: ids under which it has more than one order; ``faults``: how often each struck."""

    placed: Counter[str]
    orders: dict[str, dict[str, Any]]
    twins: list[str]
    faults: Counter[str]
    position: Decimal
    traded: Decimal

    @property
    def live(self) -> dict[str, dict[str, Any]]:
        """Orders that rest."""
        return {name: row for name, row in self.orders.items() if row["live"]}


def paper_of(journal: Path, archive: Path) -> Paper:
    """Read the journal of an executor that does not run, and the files that it dropped."""
    keep_files(journal, archive)
    placed: set[str] = set()
    counted: dict[str, Spans] = {}
    for file in read_files(archive):
        for record in map(_decode, file.records()):
            if isinstance(record, PlaceRecord):
                placed.add(record.place.client_order_id)
            elif isinstance(record, CountedRecord):
                spans = counted.get(record.client_order_id, ())
                counted[record.client_order_id] = cover(spans, record.start, record.end)[0]
    return Paper(placed, counted, tuple(replay(read_records(journal)).orders))


def truth_of(venue: VenueView) -> Truth:
    """Ask the venue for everything."""
    requests = venue.requests()
    rows = venue.get(f"orders?limit={ROWS}")
    names = Counter(row["clientOrderId"] for row in rows)
    return Truth(
        Counter(row["client_id"] for row in requests if row["op"] == "order.place"),
        {row["clientOrderId"]: row for row in rows},
        [name for name, times in names.items() if times > 1],
        Counter(row["fault"] for row in requests),
        sum(venue.positions().values(), ZERO),
        sum(venue.traded().values(), ZERO),
    )


def judge_commands(truth: Truth, paper: Paper, asked: set[str]) -> Findings:
    """Compare what reached the venue with what was asked for and what is on record."""
    findings = [(Wrong.DUPLICATE, f"{name} x{times}") for name, times in truth.placed.items() if times > 1]
    findings += [(Wrong.DUPLICATE, f"{name}: two orders") for name in truth.twins]
    reached = dict.fromkeys((*truth.placed, *truth.orders))
    findings += [(Wrong.NOBODY_ASKED, name) for name in reached if name not in asked]
    findings += [(Wrong.NOT_ON_RECORD, name) for name in reached if name not in paper.placed]
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
    findings += [(Wrong.UNRESOLVED, name) for name in paper.open_orders]
    return findings + ([(Wrong.UNCLEAN, f"the executor ended with {code}")] if code else [])


def kinds(findings: Findings) -> set[Wrong]:
    """Return the kinds of difference that were found."""
    return {wrong for wrong, _ in findings}


def told(findings: Findings) -> Iterator[str]:
    """Yield the findings as lines."""
    for wrong, detail in findings:
        yield f"{wrong.name}: {detail}"
