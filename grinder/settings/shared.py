"""What of a host's settings every host of its cluster must have the same, as it is told to the others."""

from __future__ import annotations

from typing import Final

from grinder.model.cluster import SharedSettings
from grinder.settings.endpoints import MAINNET, TESTNET
from grinder.settings.values import Settings

OWN_ADDRESS: Final = "an address of its own"
"""A venue at any other address: hosts may reach it by different ones, so these are not compared."""

_BUILT_IN: Final = (MAINNET.rest_url, TESTNET.rest_url)


def shared_settings(settings: Settings) -> SharedSettings:
    """Return them; ``settings`` must be resolved."""
    address = settings.venue_rest_url
    return SharedSettings(
        order_prefix=settings.order_prefix,
        symbols=",".join(sorted(settings.symbols)),
        trading_mode=settings.trading_mode.value,
        exchange_port=settings.exchange_port.value,
        venue=address if address in _BUILT_IN else OWN_ADDRESS,
    )
