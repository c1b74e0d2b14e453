"""Settings: any mapping is either read whole or refused with words, and no secret is ever in them.

Invariants: load returns Settings or raises SettingsError, nothing else; a secret's text is in no error, no
representation and no explanation; in paper mode every address is a loopback address.
"""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grinder.model.control import TradingMode
from grinder.model.errors import SettingsError
from grinder.settings import VARIABLES, explain, load
from grinder.settings.parse import is_loopback

NAMES = st.sampled_from(sorted(VARIABLES))
WORDS = st.sampled_from(
    ["", " ", "0", "1", "yes", "paper", "live_trade", "futures", "YES_I_KNOW", "YES_I_REALLY_WANT_MAINNET", "BTCUSDT",
     "wss://fstream.binance.com", "https://fapi.binance.com", "ws://127.0.0.1:1", "http://127.0.0.1:1", "-5", "1e400"]
)  # fmt: skip
MAPPINGS = st.dictionaries(NAMES, WORDS | st.text(max_size=20), max_size=12)
SECRETS = st.text(alphabet=string.ascii_letters + string.digits, min_size=8, max_size=64)


@given(MAPPINGS)
def test_load_when_given_anything_then_settings_or_settings_error(mapping: dict[str, str]) -> None:
    _, problems, _ = explain(mapping)
    assert all(": " in problem for problem in problems)
    if problems:
        with pytest.raises(SettingsError) as caught:
            load(mapping)
        assert caught.value.problems == problems
    else:
        assert load(mapping) == load(mapping)


@given(MAPPINGS)
def test_paper_when_any_other_setting_is_given_then_it_never_leaves_this_host(mapping: dict[str, str]) -> None:
    paper = mapping | {"GRINDER_TRADING_MODE": "paper", "GRINDER_TRADING_LOOP_ACK": "YES_I_KNOW"}
    try:
        settings = load(paper)
    except SettingsError:
        return
    assert settings.trading_mode is TradingMode.PAPER
    for address in (settings.venue_rest_url, settings.venue_ws_url, settings.venue_ws_api_url):
        assert not address or is_loopback(address)


@given(SECRETS, NAMES, st.sampled_from(["{}", "x{}", "{} ", "https://{}@a.example", "{}=1"]), MAPPINGS)
def test_secret_when_it_is_anywhere_then_no_text_of_ours_holds_it(
    secret: str, misplaced: str, form: str, mapping: dict[str, str]
) -> None:
    given = mapping | {misplaced: form.format(secret), "BINANCE_API_SECRET": secret}
    entries, problems, settings = explain(given)
    hidden = [entry.value for entry in entries if VARIABLES[entry.name].secret]
    texts = [*problems, *hidden, repr(settings.binance_api_secret), str(settings.binance_api_secret)]
    assert not [text for text in texts if secret.lower() in text.lower()]


@given(st.text(alphabet=string.ascii_uppercase + "_", min_size=1, max_size=30))
def test_name_when_ours_and_unknown_then_refused(suffix: str) -> None:
    name = f"GRINDER_{suffix}"
    if name in VARIABLES:
        return
    with pytest.raises(SettingsError) as caught:
        load({name: "1"})
    assert any(problem.startswith(f"{name}:") for problem in caught.value.problems)
