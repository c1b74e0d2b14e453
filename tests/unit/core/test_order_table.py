"""The lifecycle table: total, final where it ends, never ending what may live, and drawn from itself."""

from __future__ import annotations

import pytest

from grinder.core.order_table import (
    COLUMNS,
    ENDS_AT_VENUE,
    EXPIRIES,
    PROVES_NOTHING,
    STATUS,
    TRANSITIONS,
    Happening,
    expiry_reason,
    order_block,
)
from grinder.model.orders import TERMINAL, OrderState

MAY_END = {
    Happening.PLACE_REJECTED: OrderState.PENDING_NEW,
    Happening.PLACE_NOT_SENT: OrderState.PENDING_NEW,
    Happening.NEVER_PLACED: OrderState.IN_DOUBT,
}


@pytest.mark.parametrize("state", list(OrderState))
@pytest.mark.parametrize("what", list(Happening))
def test_table_when_asked_for_any_pair_then_one_answer_that_keeps_the_rules(state: OrderState, what: Happening) -> None:
    after = TRANSITIONS[state, what]
    if state in TERMINAL:
        assert after is state
    elif what in ENDS_AT_VENUE:
        assert after is ENDS_AT_VENUE[what]
    elif what in PROVES_NOTHING:
        assert after not in TERMINAL
    elif what in MAY_END:
        assert (after in TERMINAL) is (state is MAY_END[what])
    else:
        assert what is Happening.GONE
        owed = (OrderState.PENDING_NEW, OrderState.PENDING_AMEND, OrderState.PENDING_CANCEL)
        assert after is (state if state in owed else OrderState.CANCELED)


def test_table_when_a_command_is_on_its_way_then_no_report_of_rest_takes_it_back() -> None:
    for what in (Happening.SEEN_RESTING, Happening.PROVED_RESTING):
        assert TRANSITIONS[OrderState.PENDING_CANCEL, what] is OrderState.PENDING_CANCEL
        assert TRANSITIONS[OrderState.PENDING_AMEND, what] is OrderState.PENDING_AMEND
    assert TRANSITIONS[OrderState.IN_DOUBT, Happening.SEEN_RESTING] is OrderState.IN_DOUBT


def test_expiry_when_its_word_is_known_then_its_reason_is_given() -> None:
    assert {expiry_reason("EXPIRED", each.word) for each in EXPIRIES} == {each.reason for each in EXPIRIES}
    assert expiry_reason("EXPIRED_IN_MATCH", "") == "SELF_TRADE_PREVENTION"
    assert expiry_reason("EXPIRED", "0") == expiry_reason("EXPIRED", "77") == ""


def test_block_when_drawn_then_every_happening_state_and_expiry_is_in_it() -> None:
    block = order_block()
    for word in (*Happening, *COLUMNS, *TERMINAL, *(each.reason for each in EXPIRIES)):
        assert word in block
    assert "[*] --> PENDING_NEW" in block
    assert "IN_DOUBT --> REJECTED: SEEN_REJECTED / NEVER_PLACED" in block


def test_status_words_when_read_then_each_leads_to_a_happening_of_the_table() -> None:
    assert set(STATUS.values()) <= set(Happening)
    assert STATUS["EXPIRED_IN_MATCH"] is Happening.SEEN_EXPIRED
