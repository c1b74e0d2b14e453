"""A simulated Binance USDⓈ-M exchange: accounts, matching, filters, errors, the venue's own message forms."""
