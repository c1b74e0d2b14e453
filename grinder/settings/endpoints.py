"""Where the venue is: the built-in addresses, and what a set of settings resolves to."""

from __future__ import annotations

from typing import Final

import msgspec

from grinder.model.control import TradingMode
from grinder.settings.secret import Secret
from grinder.settings.values import Settings
from grinder.settings.variable import OrderTransport


class Endpoints(msgspec.Struct, frozen=True):
    """The three addresses of a venue."""

    rest_url: str
    ws_url: str
    ws_api_url: str


MAINNET: Final = Endpoints(
    "https://fapi.binance.com", "wss://fstream.binance.com", "wss://ws-fapi.binance.com/ws-fapi/v1"
)
TESTNET: Final = Endpoints(
    "https://demo-fapi.binance.com", "wss://fstream.binancefuture.com", "wss://testnet.binancefuture.com/ws-fapi/v1"
)
"""Source: Binance USDⓈ-M documentation, general information and WebSocket API, November 2026."""

SIM_HOST: Final = "127.0.0.1"
SIM_KEY: Final = Secret("sim-key")
SIM_SECRET: Final = Secret("sim-secret")
"""Paper credentials of the simulated venue; they open nothing else."""


def simulated(port: int) -> Endpoints:
    """Return the addresses of the embedded simulated venue."""
    host = f"{SIM_HOST}:{port}"
    return Endpoints(f"http://{host}", f"ws://{host}", f"ws://{host}/ws-fapi/v1")


def explicit(settings: Settings) -> Endpoints:
    """Return the addresses an operator gave; empty where none was given."""
    return Endpoints(settings.venue_rest_url, settings.venue_ws_url, settings.venue_ws_api_url)


def missing(settings: Settings) -> tuple[str, ...]:
    """Name the address variables that must be given because another one was."""
    given = explicit(settings)
    if given == Endpoints("", "", ""):
        return ()
    needed = {"GRINDER_VENUE_REST_URL": given.rest_url, "GRINDER_VENUE_WS_URL": given.ws_url}
    if settings.order_transport is OrderTransport.WS_API:
        needed["GRINDER_VENUE_WS_API_URL"] = given.ws_api_url
    return tuple(name for name, address in needed.items() if not address)


def resolve(settings: Settings) -> Settings:
    """Fill in the venue's addresses and, for the embedded simulated venue, its credentials.

    Paper trading never learns a real address, and the embedded venue never learns real keys.
    """
    given = explicit(settings)
    paper = settings.trading_mode is TradingMode.PAPER
    embedded = paper and given == Endpoints("", "", "")
    if embedded:
        given = simulated(settings.sim_port)
    elif not given.rest_url:
        given = MAINNET if settings.mainnet else TESTNET
    no_keys = not settings.binance_api_key and not settings.binance_api_secret
    key, secret = (
        (SIM_KEY, SIM_SECRET)
        if embedded or (paper and no_keys)
        else (settings.binance_api_key, settings.binance_api_secret)
    )
    return msgspec.structs.replace(
        settings,
        venue_rest_url=given.rest_url,
        venue_ws_url=given.ws_url,
        venue_ws_api_url=given.ws_api_url,
        venue_embedded=embedded,
        binance_api_key=key,
        binance_api_secret=secret,
    )
