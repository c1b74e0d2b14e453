#!/bin/sh
# Paper trading and nothing else: take every default that the environment does not set, take away whatever could reach
# an account, and become the front door. A value that is set wins, also when it is empty or wrong: then the front door
# says so and starts nothing.
set -eu
cd "$(dirname "$0")/.."

default() { # NAME VALUE: export VALUE unless NAME is set, even to nothing
    if eval "[ -z \"\${$1+set}\" ]"; then
        export "$1=$2"
    fi
}

while IFS= read -r line; do
    case $line in '' | '#'*) continue ;; esac
    default "${line%%=*}" "${line#*=}"
done <conf/env/paper.env
default GRINDER_TRADING_LOOP_ACK YES_I_KNOW
default GRINDER_MAX_ORDERS_ACK YES_I_ACCEPT_MULTI_ORDER

case $(printf %s "$GRINDER_TRADING_MODE" | tr -d '[:space:]' | tr '[:upper:]' '[:lower:]') in
read_only | live_trade)
    echo "GRINDER_TRADING_MODE: make run trades on paper only; unset it, or start python3 -m procs.run_trading yourself" >&2
    exit 1
    ;;
esac
unset BINANCE_API_KEY BINANCE_API_KEY_FILE BINANCE_API_SECRET BINANCE_API_SECRET_FILE CREDENTIALS_DIRECTORY
unset GRINDER_REAL_PORT_ACK ALLOW_MAINNET_TRADE
exec .venv/bin/python -m procs.run_trading "$@"
