"""grinder: a multi-process supervisor for a live grid-trading loop on Binance USDⓈ-M futures."""

__version__ = "0.1.0"
