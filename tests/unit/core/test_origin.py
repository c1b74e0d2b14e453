"""Whose an order is, and what is done with one that was found resting."""

from __future__ import annotations

import pytest

from grinder.core.origin import Origin, Treatment, origin_of, treatment
from grinder.model.control import FoundOrders


@pytest.mark.parametrize(
    ("client_order_id", "origin"),
    [
        ("grd-3-1-b1", Origin.OURS),
        ("grd-2-1-b1", Origin.OLDER_TERM),
        ("grd-4-1-b1", Origin.NEWER_TERM),
        ("autoclose-1700000000000", Origin.VENUE),
        ("adl_autoclose", Origin.VENUE),
        ("settlement_autoclose-1", Origin.VENUE),
        ("grdx-3-1-b1", Origin.FOREIGN),
        ("grd-3-1", Origin.FOREIGN),
        ("web_Kx8", Origin.FOREIGN),
        ("", Origin.FOREIGN),
    ],
)
def test_origin_when_read_from_the_id_then_it_is_known_whose_it_is(client_order_id: str, origin: Origin) -> None:
    assert origin_of(client_order_id, "grd", 3) is origin


@pytest.mark.parametrize("rule", list(FoundOrders))
@pytest.mark.parametrize("reduce_only", [False, True])
def test_treatment_when_asked_for_then_it_is_as_the_table_says(rule: FoundOrders, reduce_only: bool) -> None:
    take_back = Treatment.ADOPT if reduce_only else Treatment.CANCEL
    expected = {
        Origin.OURS: take_back if rule is FoundOrders.CANCEL else Treatment.ADOPT,
        Origin.OLDER_TERM: take_back,
        Origin.NEWER_TERM: Treatment.STOP,
        Origin.VENUE: Treatment.TRIP,
        Origin.FOREIGN: Treatment.LEAVE,
    }
    assert {origin: treatment(origin, rule, reduce_only=reduce_only) for origin in Origin} == expected
