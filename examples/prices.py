#!/usr/bin/env python3
"""Prints pair, bid, ask and time of each price, one line each, from the SSE stream. Needs Python 3.9 and no package.

    python3 examples/prices.py http://127.0.0.1:3000 BTC/USDT,ETH/USDT

Numbers are read as Decimal, so that a price keeps the digits that the exchange sent.
"""

import json
import sys
import time
import urllib.request
from decimal import Decimal

# The gateway sends a comment every 15 s. A stream that is silent for longer is dead.
SILENCE_S = 40


def events(url):
    """The JSON value of each event, until the stream ends."""
    with urllib.request.urlopen(url, timeout=SILENCE_S) as stream:
        data = []
        for line in stream:
            line = line.decode().rstrip("\r\n")
            if line.startswith("data:"):
                data.append(line[5:].lstrip())
            elif not line and data:
                yield json.loads("\n".join(data), parse_float=Decimal)
                data = []


def main():
    base = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:3000"
    pairs = sys.argv[2] if len(sys.argv) > 2 else "BTC/USDT"
    while True:
        try:
            for event in events(f"{base}/api/market-data/stream?pairs={pairs}"):
                if "pair" in event:
                    print(event["pair"], event["bid"], event["ask"], event["timestamp"], flush=True)
        except OSError as error:
            print(f"stream lost: {error}; next attempt in 3 s", file=sys.stderr)
        time.sleep(3)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
