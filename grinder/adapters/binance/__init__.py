"""Binance USDⓈ-M futures on the wire: codec, signing, REST, streams, WebSocket API. Never decides what to trade."""
