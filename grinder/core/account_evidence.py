"""The texts of an account-sync evidence bundle: canonical order, compact JSON, checksums.

Must never lose a digit: decimals are written as text.

Source: reference sheet 5.1 and 8.2.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec

from grinder.core.account import Snapshot
from grinder.core.reconcile import Finding

FOLDER = "account_sync"


def folder_name(utc_ms: int, last: str = "") -> str:
    """Return the folder of a bundle, ``account_sync/<YYYYMMDDTHHMMSSZ>``; with milliseconds where ``last`` has it."""
    name = f"{FOLDER}/{datetime.fromtimestamp(utc_ms / 1_000, UTC):%Y%m%dT%H%M%SZ}"
    return f"{name}_{utc_ms % 1_000:03d}" if last.startswith(name) else name


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode() + "\n"


def _positions(snapshot: Snapshot) -> list[dict[str, Any]]:
    ordered = sorted(snapshot.positions, key=lambda item: (item.symbol, item.position_side))
    return [
        {
            "symbol": item.symbol,
            "side": item.position_side.value,
            "qty": str(item.qty),
            "entry_price": str(item.entry_price),
            "mark_price": str(item.mark_price),
            "unrealized_pnl": str(item.unrealized_pnl),
            "ts": item.update_utc_ms,
        }
        for item in ordered
    ]


def _open_orders(snapshot: Snapshot) -> list[dict[str, Any]]:
    ordered = sorted(
        snapshot.open_orders,
        key=lambda item: (item.symbol, item.side, item.order_type, item.price, item.qty, item.client_order_id),
    )
    return [
        {
            "order_id": item.client_order_id or str(item.venue_order_id),
            "symbol": item.symbol,
            "side": item.side.value,
            "order_type": item.order_type,
            "price": str(item.price),
            "qty": str(item.qty),
            "filled_qty": str(item.filled_qty),
            "reduce_only": item.reduce_only,
            "status": item.status,
            "ts": item.update_utc_ms,
        }
        for item in ordered
    ]


def bundle(snapshot: Snapshot, mismatches: tuple[Finding, ...], source: str) -> dict[str, str]:
    """Return the files of a bundle by name: four of JSON, a summary, and the checksums of those five."""
    positions, open_orders = _positions(snapshot), _open_orders(snapshot)
    account = _json(
        {"positions": positions, "open_orders": open_orders, "ts": snapshot.newest_utc_ms, "source": source}
    )
    found = [{"rule": item.rule.value, "symbol": item.symbol, "detail": item.detail} for item in mismatches]
    lines = [
        "Account sync",
        f"ts={snapshot.newest_utc_ms}",
        f"source={source}",
        f"positions={len(positions)}",
        f"open_orders={len(open_orders)}",
        f"mismatches={len(found)}",
        *(f"  {item['rule']}: {item['detail']}" for item in found),
        f"snapshot_sha256={hashlib.sha256(account.encode()).hexdigest()}",
    ]
    files = {
        "account_snapshot.json": account,
        "positions.json": _json(positions),
        "open_orders.json": _json(open_orders),
        "mismatches.json": _json(found),
        "summary.txt": "\n".join(lines) + "\n",
    }
    sums = [f"{hashlib.sha256(text.encode()).hexdigest()}  {name}" for name, text in files.items()]
    return {**files, "sha256sums.txt": "\n".join(sums) + "\n"}
