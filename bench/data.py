#!/usr/bin/env python3
"""Measures both stores with the same rows: what importing, exporting and reading them
costs in SQLite and in PostgreSQL. The table is that of docs/data.md.

    bench/data.py                              a million rows in each store, three runs of each read
    bench/data.py --rows 50000000 --folder F   so many; F keeps them, and the next time goes on with them
    bench/data.py --only postgres              this store alone
    bench/data.py --fill --folder F            only import
    bench/data.py --reads --folder F           only read what F holds, and export nothing

Each store gets a server of its own; the PostgreSQL is started here, with its defaults.
While one is measured, the other one does not run. Prints a table; everything that
belongs to it goes to bench/results/<date>-data.json. Needs Python 3.9 and nothing
beside its standard library.
"""

import argparse
import contextlib
import pathlib
import sys

from harness import data, machine, ours, process, report
from harness.command import end_in_order, executable, positive, say


def main():
    args = arguments()
    end_in_order()
    orderwire = ours.Orderwire(args.binary or "orderwire", seconds=0)
    if not args.binary:
        say("building orderwire")
        orderwire.binary = ours.build()
    measured = [measure(data.STORES[name], orderwire, args) for name in args.only or data.STORES]
    if args.fill:
        return 0
    print(data.table(args.rows, measured))
    with process.folder() as folder:
        about = {"machine": machine.describe(folder), "commit": machine.commit(ours.ROOT), "rows": args.rows, "runs": args.runs}
    print(f"\nin {report.write_json({**about, 'stores': [one.to_json() for one in measured]}, '-data')}", file=sys.stderr)
    return 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=positive, default=1_000_000, metavar="N", help="rows in each store (1,000,000)")
    parser.add_argument("--runs", type=positive, default=3, metavar="N", help="how often each read is measured (3)")
    parser.add_argument("--only", nargs="+", choices=data.STORES, metavar="STORE", help="sqlite, postgres")
    parser.add_argument("--binary", type=executable, metavar="FILE", help="an orderwire that is built already")
    parser.add_argument("--folder", type=pathlib.Path, metavar="FOLDER", help="keep the rows there")
    parser.add_argument("--fill", action="store_true", help="only import; with --folder")
    parser.add_argument("--reads", action="store_true", help="only the reads, without exports, of what F holds; with --folder")
    args = parser.parse_args()
    if args.fill and not args.folder:
        parser.error("--fill without --folder would throw away what it filled")
    if args.reads and not args.folder:
        parser.error("--reads without --folder has nothing to read")
    if args.reads and args.fill:
        parser.error("--reads and --fill leave nothing to do")
    if args.rows % data.STATIONS:
        parser.error(f"rows come by {data.STATIONS} stations: a multiple of that, please")
    return args


def measure(store, orderwire, args):
    """What one store takes for everything in the table."""
    result = data.Measured(store.name)
    with contextlib.ExitStack() as stack:
        kept = args.folder / store.name if args.folder else stack.enter_context(process.folder())
        kept.mkdir(parents=True, exist_ok=True)
        kept.chmod(0o711)
        server = stack.enter_context(store(kept).up(orderwire))
        if not args.reads:
            say(f"{store.name}: importing {args.rows:,} rows")
            data.fill(server, args.rows, result)
        if not args.fill:
            say(f"{store.name}: reading")
            data.read(server, args.rows, args.runs, () if args.reads else data.FORMATS, result)
    return result


if __name__ == "__main__":
    sys.exit(main())
