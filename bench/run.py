#!/usr/bin/env python3
"""Measures Orderwire beside its peers on this machine: ours and theirs in turn, each
on an empty folder, so that both see the same noise.

    bench/run.py                     every row, three runs of ten seconds each
    bench/run.py --list              the rows
    bench/run.py --only events view  these rows
    bench/run.py --install           first install peers that are missing (apt-get, as root)

It builds what it measures, starts each peer by itself on a free port and stops it
after its run. Prints a table; everything that belongs to it goes to
bench/results/<date>.json. With AMQP_URL that RabbitMQ is taken instead of an own one.
Needs Python 3.9 and nothing beside its standard library.
"""

import argparse
import os
import sys

from harness import machine, ours, peers, process, report, rows
from harness.command import end_in_order, executable, positive, say


def main():
    args = arguments()
    end_in_order()
    orderwire = ours.Orderwire(args.binary or "orderwire", args.seconds)
    client = peers.Client(args.seconds)
    chosen = rows.rows(orderwire, client)
    if args.list:
        for row in chosen:
            print(f"{row.name:<12} {row.title}")
        return 0
    if args.only:
        unknown = set(args.only) - {row.name for row in chosen}
        if unknown:
            return say(f"there is no row {', '.join(sorted(unknown))}; see --list", 2)
        chosen = [row for row in chosen if row.name in args.only]
    if args.install:
        install()
    if not args.binary:
        say("building orderwire")
        orderwire.binary = ours.build()
    if any(isinstance(peer, peers.Broker) for row in chosen for peer, _ in row.beside):
        say("building the clients of the brokers")
        client.build()
    about = describe(args, orderwire, chosen)
    results = [report.Result(row) for row in chosen]
    try:
        for run in range(args.runs):
            for result in results:
                measure(result, run, args.runs)
    except KeyboardInterrupt:
        say("interrupted; what was measured until now:")
        print(report.table(results))
        return 130
    print(report.table(results))
    print(f"\nin {report.write(about, results)}", file=sys.stderr)
    return 1 if any(result.missing for result in results) else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="ROW", help="only these rows")
    parser.add_argument("--list", action="store_true", help="print the rows and end")
    parser.add_argument("--runs", type=positive, default=3, metavar="N", help="how often each is measured (3)")
    parser.add_argument("--seconds", type=positive, default=10, metavar="N", help="how long each time (10)")
    parser.add_argument("--binary", type=executable, metavar="FILE", help="an orderwire that is built already")
    parser.add_argument("--install", action="store_true", help="install the peers that are missing")
    return parser.parse_args()


def measure(result, run, runs):
    """One run of a row: ours and every peer, the other way round every second time."""
    contenders = [(result.OURS, result.row.ours)]
    contenders += [(peer.name, peer.measure) for peer, _ in result.row.beside]
    for name, contender in contenders if run % 2 == 0 else reversed(contenders):
        if name in result.missing:
            continue
        try:
            figure = contender()
        except (process.Missing, process.Failed) as problem:
            result.fail(name, str(problem))
            say(f"NOT MEASURED: {name} in row {result.row.name}: {problem}")
            continue
        result.add(name, figure)
        say(f"run {run + 1} of {runs}, {result.row.name}, {name}: {figure.value:,.1f} {result.row.unit}")


def describe(args, orderwire, chosen):
    """What belongs to every figure of this run."""
    versions = {"orderwire": machine.version(orderwire.binary, "--version"), "commit": machine.commit(ours.ROOT)}
    versions["rustc"] = machine.version("rustc", "--version")
    for row in chosen:
        for peer, _ in row.beside:
            try:
                versions[peer.name] = peer.version()
            except process.Missing as problem:
                say(f"WARNING: {problem}: {peer.name} will not be measured; see --install")
    settings = {"runs": args.runs, "seconds": args.seconds, "payload_bytes": 512}
    with process.folder() as folder:
        return {"machine": machine.describe(folder), "versions": versions, "settings": settings}


def install():
    """Installs what is missing of the peers' packages, without starting their services."""
    have = [["dpkg-query", "-W", "-f", "${db:Status-Status}", package] for package in peers.PACKAGES]
    missing = [package for package, ask in zip(peers.PACKAGES, have) if not process.succeeds(ask)]
    if missing:
        if os.geteuid() != 0:
            raise SystemExit(f"error: --install needs root; missing are {', '.join(missing)}")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        say(f"installing {', '.join(missing)}")
        process.run(["apt-get", "update", "-qq"], env=environment)
        process.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], env=environment)


if __name__ == "__main__":
    sys.exit(main())
