#!/usr/bin/env python3
"""Measures what size costs: the same figures of an empty server and of one that holds
ten million events, a hundred thousand releases, fifty million rows.

    bench/sizes.py                          every size, one after the other
    bench/sizes.py --list                   the sizes
    bench/sizes.py --only task queues       these sizes
    bench/sizes.py --scale 0.01             a hundredth of each, for a quick trial
    bench/sizes.py --only rows --folder F   keeps what was filled in F, and goes on with it next time

For each size two servers stand beside each other, an empty one and a filled one. They
are measured in turn, so that both see the same noise; the other one idles meanwhile.
Filling goes through the API, but for releases. Prints a table; everything that belongs
to it goes to bench/results/<date>-sizes.json. A full size takes minutes to fill and up
to 15 GiB. Needs Python 3.9 and nothing beside its standard library.
"""

import argparse
import contextlib
import pathlib
import sys
import time

from harness import costs, machine, ours, place, process, report, sizes
from harness.command import end_in_order, executable, positive, say
from harness.figure import Figure


def main():
    args = arguments()
    end_in_order()
    chosen = [size.scaled(args.scale) for size in sizes.sizes()]
    if args.list:
        for size in chosen:
            print(f"{size.name:<9} {size.count:>11,} {size.title} ({size.note})")
        return 0
    if args.only:
        unknown = set(args.only) - {size.name for size in chosen}
        if unknown:
            return say(f"there is no size {', '.join(sorted(unknown))}; see --list", 2)
        chosen = [size for size in chosen if size.name in args.only]
    orderwire = ours.Orderwire(args.binary or "orderwire", args.seconds)
    if not args.binary:
        say("building orderwire")
        orderwire.binary = ours.build()
    compared = [costs.Compared(size) for size in chosen]
    try:
        about = describe(args, orderwire)
        for one in compared:
            try:
                measure(one, orderwire, args)
            except process.Failed as problem:
                one.problem = str(problem)
                say(f"NOT MEASURED: {one.size.name}: {problem}")
    except KeyboardInterrupt:
        say("interrupted; what was measured until now:")
        print(costs.table(compared))
        return 130
    if args.fill:
        return 1 if any(one.problem for one in compared) else 0
    print(costs.table(compared))
    print(f"\nin {report.write_json({**about, 'sizes': [one.to_json() for one in compared]}, '-sizes')}", file=sys.stderr)
    return 0 if all(one.is_flat() for one in compared) else 1


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="SIZE", help="only these sizes")
    parser.add_argument("--list", action="store_true", help="print the sizes and end")
    parser.add_argument("--scale", type=share, default=1.0, metavar="X", help="so much of each size (1)")
    parser.add_argument("--runs", type=positive, default=5, metavar="N", help="how often each figure is measured (5)")
    parser.add_argument("--seconds", type=positive, default=4, metavar="N", help="how long each rate is measured (4)")
    parser.add_argument("--binary", type=executable, metavar="FILE", help="an orderwire that is built already")
    parser.add_argument("--folder", type=pathlib.Path, metavar="FOLDER", help="keep the filled folders there")
    parser.add_argument("--figures", nargs="+", metavar="NAME", help="only these of a size's figures")
    parser.add_argument("--fill", action="store_true", help="only fill; with --folder")
    args = parser.parse_args()
    if args.fill and not args.folder:
        parser.error("--fill without --folder would throw away what it filled")
    return args


def share(text):
    number = float(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError("more than 0, at most 1")
    return number


def measure(one, orderwire, args):
    """One size: both servers are made, one is filled, then each figure is taken in turn."""
    size = one.size
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(process.folder())
        kept = args.folder / size.name if args.folder else work / "filled"
        empty = place.Place(one.EMPTY, orderwire, work / "empty")
        filled = place.Place(one.FILLED, orderwire, kept)
        stack.enter_context(place.stopping(empty, filled))
        if filled.notes().setdefault("count", size.count) != size.count:
            raise process.Failed(f"{kept} holds another number: {filled.notes()['count']:,}")
        filled.note(count=size.count)
        filled.start()
        costs.prepare(filled)
        say(f"{size.name}: filling to {size.count:,}")
        begun = time.monotonic()
        size.fill(filled, size.count, sizes.Progress(size, say))
        say(f"{size.name}: filled in {time.monotonic() - begun:.0f} s; {disk_gib(kept):.1f} GiB")
        if args.fill:
            return
        empty.start()
        costs.prepare(empty)
        if size.prepare:
            size.prepare(empty)
        for run in range(args.runs):
            for where in turn(run, empty, filled):
                where.stop()
                add(one, costs.START, where, Figure(where.start(), {}, "orderwire up"), run, args.runs)
        for where in (empty, filled) if size.after_start else ():
            where.stop()
            begun = time.monotonic()
            where.start()
            for cost in size.after_start:
                add(one, cost, where, cost.measure(where), 0, 1)
            where.settle()
            add(one, costs.SETTLE, where, Figure(time.monotonic() - begun, {}, "no release is due"), 0, 1)
        # What the start itself needed is given back by then.
        time.sleep(3)
        for where in (empty, filled):
            add(one, costs.IDLE, where, Figure(where.server.memory_mib(), {}, "VmRSS"), 0, 1)
        for run in range(args.runs):
            for cost in chosen_costs(size, args.figures):
                for where in turn(run, empty, filled):
                    add(one, cost, where, cost.measure(where), run, args.runs)
        for where in (empty, filled):
            add(one, costs.WORKED, where, Figure(where.server.memory_mib(), {}, "VmRSS"), 0, 1)


def chosen_costs(size, names):
    return [cost for cost in size.costs if not names or cost.name in names]


def add(one, cost, where, figure, run, runs):
    one.add(cost, where, figure)
    say(f"{one.size.name}, run {run + 1} of {runs}, {cost.name}, {where.name}: {figure.value:,.1f} {cost.unit}")


def turn(run, *places):
    return places if run % 2 == 0 else tuple(reversed(places))


def disk_gib(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**30


def describe(args, orderwire):
    versions = {"orderwire": machine.version(orderwire.binary, "--version"), "commit": machine.commit(ours.ROOT)}
    settings = {"runs": args.runs, "seconds": args.seconds, "scale": args.scale}
    if args.folder:
        args.folder.mkdir(parents=True, exist_ok=True)
        return {"machine": machine.describe(args.folder), "versions": versions, "settings": settings}
    with process.folder() as folder:
        return {"machine": machine.describe(folder), "versions": versions, "settings": settings}


if __name__ == "__main__":
    sys.exit(main())
