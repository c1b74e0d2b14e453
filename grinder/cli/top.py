"""``grinder top``: what ``grinder status`` says, and account, orders and fills, on a screen that renews itself.

The first half comes from the board and supervisord and works with any process dead; the second is what the metrics
process answers. Must never change anything.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import shutil
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import msgspec

from grinder.cli.host import lenient_settings, padded, positive_seconds
from grinder.cli.status import Status, answer_of, collect, exit_code, lines_of
from grinder.model.control import Exit
from grinder.settings import Settings

PERIOD_S: Final = 1.0
PERIOD_S_MIN: Final = 0.2
FILLS_SHOWN: Final = 8
LEAVES: Final = frozenset("qQ\x04")
"""Keys that end it beside Ctrl-C: q, Ctrl-D."""

_ENTER: Final = "\x1b[?1049h\x1b[?25l"
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_LINE_END: Final = "\x1b[K\r\n"
_REST: Final = "\x1b[J"
_PLAIN: Final = "\x1b[0m"
_TONES: Final = (
    ("NOT READY", "\x1b[1;31m"),
    ("ready", "\x1b[1;32m"),
    ("  ", "\x1b[33m"),
    ("kill switch TRIPPED", "\x1b[1;31m"),
)
"""How a line of the status that begins so is shown; the first that fits counts."""


class Position(msgspec.Struct, frozen=True):
    """A position: base units, USDT."""

    symbol: str
    qty: str
    entry: Decimal
    pnl: Decimal


class Account(msgspec.Struct, frozen=True):
    """The account's last snapshot, USDT. ``age_s``: since it was taken."""

    equity: Decimal
    unrealized: Decimal
    open_orders: int
    age_s: float
    reconciled: bool
    positions: tuple[Position, ...]


class Order(msgspec.Struct, frozen=True):
    """An order of ours that has not ended."""

    symbol: str
    side: str
    kind: str
    state: str
    price: Decimal
    qty: str
    filled: str


class Fill(msgspec.Struct, frozen=True):
    """A fill. ``pnl``: what it realised, USDT."""

    symbol: str
    side: str
    kind: str
    price: str
    qty: str
    pnl: str
    utc_s: float


class Book(msgspec.Struct, frozen=True):
    """Best prices."""

    bid: str
    ask: str


class Details(msgspec.Struct, frozen=True):
    """What of ``/status.json`` is shown here."""

    node: str
    mode: str
    port: str
    books: dict[str, Book | None]
    account: Account | None
    orders: tuple[Order, ...]
    fills: tuple[Fill, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how often, and ``--once``."""
    parser.add_argument("--once", action="store_true", help="print one screen and end, as where there is no terminal")
    parser.add_argument(
        "--seconds", type=positive_seconds, default=PERIOD_S, help="time between two looks (default 1, at least 0.2)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Show it until q is pressed; 0. Once: 0 ready, 1 something runs but is not ready, 2 nothing runs here."""
    settings = lenient_settings()
    if arguments.once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        status = collect(settings)
        print("\n".join(screen(status, *details_of(settings))))
        return exit_code(status)
    # Ctrl-C is a way to leave, not a failure.
    with contextlib.suppress(KeyboardInterrupt), _terminal() as key_within:
        while True:
            lines = screen(collect(settings), *details_of(settings))
            size = shutil.get_terminal_size()
            sys.stdout.write(painted(lines, size.columns, size.lines))
            sys.stdout.flush()
            if key_within(max(arguments.seconds, PERIOD_S_MIN)):
                break
    return Exit.OK


def details_of(settings: Settings) -> tuple[Details | None, str]:
    """Return what the metrics process shows beside the status, and why there is nothing."""
    answer, error = answer_of(settings, "status.json")
    if answer is None:
        return None, error
    try:
        return msgspec.convert(answer, Details), ""
    except msgspec.ValidationError as problem:
        return None, f"the metrics process is of another version: {problem}"


def screen(status: Status, details: Details | None, error: str) -> list[str]:
    """Return the whole screen as lines."""
    lines = lines_of(status)
    if details is None:
        return [*lines, "", f"no account, orders and fills to show: {error}"]
    about = f"grinder {details.node}, {details.mode}, port {details.port}"
    return [about, *lines, "", *_account(details), "", *_fills(details.fills), "", *_orders(details.orders)]


def painted(lines: Sequence[str], columns: int, rows: int) -> str:
    """Return what draws lines over the last screen of a terminal: cut to its size, nothing left of before."""
    shown = list(lines[: max(rows - 1, 1)])
    if len(lines) > len(shown):
        shown[-1] = f"... {len(lines) - len(shown) + 1} more lines; a higher window shows them"
    text = "".join(_toned("".join(letter for letter in line if letter.isprintable())[:columns]) for line in shown)
    foot = f"{datetime.now(UTC):%H:%M:%S}Z, q leaves"
    return f"{_HOME}{text}{foot[:columns]}{_REST}"


def _toned(line: str) -> str:
    tone = next((tone for start, tone in _TONES if line.startswith(start)), "")
    return f"{tone}{line}{_PLAIN}{_LINE_END}" if tone else f"{line}{_LINE_END}"


def _account(details: Details) -> list[str]:
    account = details.account
    books = [
        f"{symbol} {book.bid} / {book.ask}" if book else f"{symbol} no book" for symbol, book in details.books.items()
    ]
    if account is None:
        return [*books, "account: no snapshot yet"]
    doubt = "" if account.reconciled else ", NOT RECONCILED"
    lines = [
        *books,
        f"equity {account.equity:.2f} USDT, unrealized {account.unrealized:.2f}, {account.open_orders} open orders, "
        f"synced {account.age_s:.1f} s ago{doubt}",
    ]
    rows = [(each.symbol, each.qty, f"{each.entry:.2f}", f"{each.pnl:.2f}") for each in account.positions]
    return [*lines, *(padded([("position", "quantity", "entry", "unrealized"), *rows]) if rows else ["flat"])]


def _orders(orders: Sequence[Order]) -> list[str]:
    """Return the orders as in a book: the highest price of each symbol first."""
    book = sorted(orders, key=lambda each: (each.symbol, -each.price))
    rows = [(each.symbol, each.side, each.kind, each.state, f"{each.price:f}", each.qty, each.filled) for each in book]
    head = ("order", "side", "kind", "state", "price", "quantity", "filled")
    return padded([head, *rows]) if rows else ["no orders"]


def _fills(fills: Sequence[Fill]) -> list[str]:
    rows = [
        (
            f"{datetime.fromtimestamp(each.utc_s, UTC):%H:%M:%S}",
            each.symbol,
            each.side,
            each.kind,
            each.price,
            each.qty,
            each.pnl,
        )
        for each in fills[:FILLS_SHOWN]
    ]
    head = ("fill", "symbol", "side", "kind", "price", "quantity", "realised")
    return padded([head, *rows]) if rows else ["no fills yet"]


@contextlib.contextmanager
def _terminal() -> Iterator[Callable[[float], bool]]:
    """Take the terminal over, and give it back as it was; yields what waits for a key that ends it, seconds at most."""
    keys = sys.stdin.fileno()
    before = termios.tcgetattr(keys)

    def key_within(seconds: float) -> bool:
        if not select.select([keys], [], [], seconds)[0]:
            return False
        pressed = os.read(keys, 64).decode("ascii", "replace")
        return not pressed or not LEAVES.isdisjoint(pressed)

    sys.stdout.write(_ENTER)
    try:
        tty.setcbreak(keys)
        yield key_within
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
