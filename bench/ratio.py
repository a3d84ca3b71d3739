#!/usr/bin/env python3
"""Ratios with their spread, from the raw figures of bench/run.sh.

Runs are compared in pairs, first with first and so on: both of a pair saw the
same noise.
"""

import json
import statistics
import sys

ROWS = [
    ("event", "single events, 64 connections, against RabbitMQ with 64 in flight", 1.5),
    ("rows", "NDJSON of 500 rows, against RabbitMQ with 512 in flight", 3.0),
    ("view", "cached view of 300 kB, against a static file of nginx", 1.0),
]


def read(path):
    rates, tails = {}, {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            figures = entry["figures"]
            if figures.get("errors"):
                sys.exit(f"{path}: a run had errors, so its figure means nothing: {figures['errors']}")
            rate = figures.get("units_per_second", figures.get("rate"))
            tail = figures["latency_ms"]["p99"] if "latency_ms" in figures else figures["p99_ms"]
            rates.setdefault(entry["row"], []).append(rate)
            tails.setdefault(entry["row"], []).append(tail)
    return rates, tails


def spread(values, form="{:,.0f}"):
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{form} ({form} to {form})".format(middle, low, high)


def main():
    ours, our_tails = read(sys.argv[1])
    peers, peer_tails = read(sys.argv[2])
    print("| row | Orderwire /s | p99 ms | peer /s | p99 ms | ratio | wanted |")
    print("|---|---|---|---|---|---|---|")
    for row, name, wanted in ROWS:
        mine, theirs = ours.get(row, []), peers.get(row, [])
        if not mine:
            continue
        rate, tail = spread(mine), spread(our_tails[row], "{:.1f}")
        if theirs:
            ratios = [a / b for a, b in zip(mine, theirs)]
            peer, ratio = spread(theirs), spread(ratios, "{:.2f}")
            peer_tail = spread(peer_tails[row], "{:.1f}")
        else:
            peer = ratio = peer_tail = "not measured"
        print(f"| {name} | {rate} | {tail} | {peer} | {peer_tail} | {ratio} | {wanted} |")


if __name__ == "__main__":
    main()
