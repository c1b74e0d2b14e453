"""What of a host's settings the other hosts of its cluster are told."""

from __future__ import annotations

from grinder.model.cluster import SharedSettings
from grinder.settings import load
from grinder.settings.shared import OWN_ADDRESS, shared_settings


def shared(**given: str) -> SharedSettings:
    return shared_settings(load(given))


def test_settings_when_told_then_as_an_operator_wrote_them_and_symbols_in_order() -> None:
    told = shared(GRINDER_SYMBOLS="ETHUSDT,BTCUSDT", GRINDER_ORDER_PREFIX="abc")
    assert told == SharedSettings("abc", "BTCUSDT,ETHUSDT", "read_only", "noop", "https://demo-fapi.binance.com")
    assert shared(GRINDER_MAINNET="1").venue == "https://fapi.binance.com"


def test_settings_when_the_venue_has_an_address_of_its_own_then_not_told_which() -> None:
    own = {"GRINDER_VENUE_REST_URL": "http://127.0.0.1:9", "GRINDER_VENUE_WS_URL": "ws://127.0.0.1:9"}
    told = shared(**own, GRINDER_VENUE_WS_API_URL="ws://127.0.0.1:9")
    assert told.venue == OWN_ADDRESS
