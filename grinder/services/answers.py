"""The JSON answers of the metrics process: ``/healthz``, ``/readyz`` and what the status page shows.

Built from the metrics service; must never hold a secret and never change anything.
"""

from __future__ import annotations

from typing import Any

from grinder.model.control import HaRole
from grinder.model.metrics import BY_NAME
from grinder.model.orders import OrderUpdate
from grinder.services.metrics import MetricsService


def healthz(service: MetricsService) -> dict[str, Any]:
    """Return the liveness answer: this process answers, and the age of every process's heartbeat."""
    processes = service.processes()
    return {
        "status": "ok",
        "uptime_s": round(service.uptime_s, 2),
        "processes": {
            process.value: {
                "alive": health.alive,
                "heartbeat_age_s": health.age_ms / 1_000,
                "pid": health.pid,
                "starts": health.starts,
            }
            for process, health in processes.items()
        },
    }


def readyz(service: MetricsService) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status and the readiness answer: 200 only when the loop is ready and this host may act."""
    judged = service.judged()
    standing = service.standing
    body = {
        "ready": judged.ready,
        "loop_ready": judged.loop_ready,
        "ha_enabled": service.config.ha_enabled,
        "ha_role": standing.role.value if standing.enabled else "n/a",
        "ha": standing.words,
        "role": standing.role.value,
        "mode": service.config.trading_mode,
        "fsm_state": service.fsm_state.value,
        "reasons": list(judged.reasons),
    }
    return (200 if judged.ready else 503), body


def _order(order: OrderUpdate) -> dict[str, Any]:
    return {
        "id": order.client_order_id,
        "symbol": order.symbol,
        "side": order.side.value,
        "kind": order.kind.value,
        "state": order.state.value,
        "price": str(order.price),
        "qty": str(order.qty),
        "filled": str(order.filled_qty),
    }


def _counts(service: MetricsService, name: str) -> dict[str, float]:
    """Return the series of a counter that are above zero, labels joined by a blank."""
    values = service.aggregate.values(BY_NAME[name])
    return {" ".join(labels): value for labels, value in sorted(values.items()) if value > 0}


def _account(service: MetricsService) -> dict[str, Any] | None:
    account = service.account
    if account is None:
        return None
    return {
        "equity": str(account.balance.equity),
        "wallet": str(account.balance.wallet_balance),
        "unrealized": str(account.balance.unrealized_pnl),
        "age_s": round(service.account_age_s, 2),
        "reconciled": account.reconciled,
        "open_orders": account.open_orders_count,
        "positions": [
            {
                "symbol": position.symbol,
                "qty": str(position.qty),
                "entry": str(position.entry_price),
                "mark": str(position.mark_price),
                "pnl": str(position.unrealized_pnl),
            }
            for position in account.positions
        ],
    }


def _plans(service: MetricsService) -> dict[str, Any]:
    return {
        symbol: {
            "anchor": str(plan.anchor_price),
            "spacing_bps": plan.spacing_bps,
            "natr_bps": plan.natr_bps,
            "wanted": plan.wanted,
            "resting": plan.resting,
            "in_flight": plan.in_flight,
            "lots": plan.lots,
        }
        for symbol, plan in service.plans.items()
    }


def _fills(service: MetricsService) -> list[dict[str, Any]]:
    """Return the last fills, newest first."""
    return [
        {
            "symbol": fill.symbol,
            "side": fill.side.value,
            "kind": fill.kind.value,
            "price": str(fill.price),
            "qty": str(fill.qty),
            "pnl": str(fill.realized_pnl),
            "utc_s": fill.event_utc_ms / 1_000,
        }
        for fill in reversed(service.fills)
    ]


def _loop(service: MetricsService) -> dict[str, Any]:
    state = service.loop_state
    return {
        "state": service.fsm_state.value,
        "duration_s": service.scrape_values()["grinder_fsm_state_duration_seconds"][()],
        "signals": dict(state.signals) if state is not None else {},
    }


def status(service: MetricsService) -> dict[str, Any]:
    """Return everything the status page shows, as one JSON value."""
    code, ready = readyz(service)
    standing = service.standing
    return {
        "node": service.config.node_id,
        "mode": service.config.trading_mode,
        "port": service.config.exchange_port,
        "symbols": list(service.config.symbols),
        "ready": ready,
        "ready_code": code,
        "fsm": _loop(service),
        "tripped": service.tripped,
        "override": service.override.name,
        "role": standing.role.value,
        "is_leader": standing.role is HaRole.ACTIVE,
        "ha": {
            "enabled": standing.enabled,
            "words": standing.words,
            "term": standing.term,
            "lease_left_s": round(standing.lease_left_s, 2),
            "permit_left_s": round(standing.permit_left_s, 2),
            "permission": standing.permission,
            "override": standing.override.name,
        },
        "uptime_s": round(service.uptime_s, 1),
        "rollback": list(service.rollback()),
        "processes": healthz(service)["processes"],
        "process_reasons": {process.value: health.not_ready_reason for process, health in service.processes().items()},
        "books": {
            symbol: None if book is None else {"bid": str(book.bid_price), "ask": str(book.ask_price)}
            for symbol, book in service.books().items()
        },
        "plans": _plans(service),
        "account": _account(service),
        "orders": [_order(order) for order in service.orders.orders] if service.orders is not None else [],
        "fills": _fills(service),
        "mismatches": [
            f"{mismatch.rule.value} {mismatch.symbol}: {mismatch.detail}" for mismatch in service.mismatches
        ],
        "blocked": _counts(service, "grinder_gate_blocked_total"),
        "denied": _counts(service, "grinder_executor_denied_total"),
        "attempts": _counts(service, "grinder_port_order_attempts_total"),
        "dropped": _counts(service, "grinder_bus_dropped_total"),
    }
