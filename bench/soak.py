#!/usr/bin/env python3
"""Loads a server for long with what users really do, and says whether it stays as it was:
memory, files, descriptors, latency; through a restart and a kill, with nothing lost.

    bench/soak.py                         30 minutes at 70 % of the knee, which is looked for first
    bench/soak.py --knee 1500             the knee is known: 70 % of 1,500 events a second
    bench/soak.py --minutes 3 --knee 800  a short one, to try it
    bench/soak.py --no-consumer           nobody takes the events: see how it says NO
    bench/soak.py --list                  what is loaded, what is judged, and when what happens

It builds what it measures unless --binary names one. Prints a line for each of 32 slices
and a table; all samples and a page with plots go to bench/results/soak-<date>.json and
.html. Exit code 0: everything is flat. 1: something is not, and the last lines name it.
2: a flag makes no sense. 3: it could not be measured. 130: Ctrl-C, after which it prints
what it has. Needs Python 3.9 and nothing beside its standard library.
"""

import argparse
import datetime
import json
import sys
import time

from harness import machine, ours, process, report, soak_flat, soak_ledger, soak_mix, soak_plot, soak_samples, soak_server
from harness.command import end_in_order, executable, say

# Until the rows of the first minute were swept: they are kept a minute, and swept each minute.
WARM_UP_SECONDS = 150
SAMPLE_EVERY_SECONDS = 5
MINUTES_LEAST = 3


def main():
    args = arguments()
    end_in_order()
    if args.list:
        print(explained())
        return 0
    try:
        soak_server.check_sqlite()
        orderwire = ours.Orderwire((args.binary or build()).resolve(), 0)
        with process.folder() as folder:
            about = described(args, orderwire, folder)
        knee = {"rate": args.knee, "steps": []} if args.knee else search(args, orderwire)
        soak = Soak(args, orderwire, knee)
        soak.run()
    except (process.Missing, process.Failed) as problem:
        return say(f"NOT MEASURED: {problem}", 3)
    except KeyboardInterrupt:
        return say("interrupted before there was anything to tell", 130)
    return tell(about, soak)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=minutes, default=30, metavar="N", help="how long, after the warm-up (30)")
    parser.add_argument("--share", type=share, default=0.7, metavar="X", help="at which share of the knee (0.7)")
    parser.add_argument("--knee", type=above_zero, metavar="N", help="the knee in events/s, instead of looking for it")
    parser.add_argument("--p99", type=above_zero, default=100, metavar="MS", help="what the knee keeps (100)")
    help = f"how long to load before it counts ({WARM_UP_SECONDS}); files are not in a steady state earlier"
    parser.add_argument("--warm-up", type=above_zero, default=WARM_UP_SECONDS, metavar="SECONDS", help=help)
    parser.add_argument("--no-consumer", action="store_true", help="leave the consumer out, to see the verdict fail")
    parser.add_argument("--binary", type=executable, metavar="FILE", help="an orderwire that is built already")
    parser.add_argument("--list", action="store_true", help="say what is done and judged, and end")
    return parser.parse_args()


def above_zero(text):
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("more than 0")
    return number


def minutes(text):
    number = above_zero(text)
    if number < MINUTES_LEAST:
        raise argparse.ArgumentTypeError(f"at least {MINUTES_LEAST}: shorter slices say nothing")
    return number


def share(text):
    number = above_zero(text)
    if number > 2:
        raise argparse.ArgumentTypeError("a share of the knee, such as 0.7")
    return number


def build():
    say("building orderwire")
    return ours.build()


def explained():
    lines = ["What is loaded, for each event a second (R = share of the knee):"]
    for part in soak_mix.PARTS:
        lines.append(f"  {part.name:<9} {part.share:g} R requests/s of: orderwire load {process.show(part.words)}")
    lines += [
        "  ledger    20 numbered events and rows a second, repeated until accepted, consumed and counted",
        "",
        f"When: a warm-up, then {soak_flat.SLICES} slices of the same length.",
        f"  slice {soak_flat.TERM_AT:>2}  (the middle) SIGTERM, a look at the files, start on the same folder",
        f"  slice {soak_flat.KILL_AT:>2}  SIGKILL, start on the same folder",
        f"  slices {soak_flat.SECOND[0]} to {soak_flat.SECOND[-1]} (the second quarter) are compared with {soak_flat.LAST[0]} to {soak_flat.LAST[-1]} (the last)",
        "",
        "What may differ:",
        f"  memory                 {soak_flat.GROWTH:.0%} more; also within each half",
        f"  processor              {soak_flat.NOISY_GROWTH:.0%} more",
        f"  descriptors, threads   {soak_flat.DESCRIPTORS} more",
        "  events that wait       10 % more, or as many as come in a second",
        "  write-ahead logs       10 % more, or 64 MiB, beyond which the server empties them",
        "  files                  10 % or 4 MiB more, without what is kept for longer than the run on purpose",
        "                         (traces, remembered ids: at least an hour; the ledger's rows)",
        f"                         and the rows of {soak_flat.SWEPT_LATE_SECONDS} s: a start sweeps a minute later",
        "  that, for each request 10 % more",
        "  latency                25 % more, or what the slices of the second quarter differ by (upper quartile",
        "                         and 1.5 times the distance of the quartiles), whichever is more; never twice as much",
        "  errors                 0.1 % failed and 1 % not sent, beside the third quarter with its restarts",
        f"  without acceptance     {soak_flat.OUTAGE_SECONDS} s at a restart",
        "  lost, recorded twice   none",
        "What gets less is no fault.",
    ]
    return "\n".join(lines)


def described(args, orderwire, folder):
    versions = {"orderwire": machine.version(orderwire.binary, "--version"), "commit": machine.commit(ours.ROOT)}
    settings = {key: value for key, value in vars(args).items() if key not in ("binary", "list")}
    return {"machine": machine.describe(folder), "versions": versions, "settings": settings}


def search(args, orderwire):
    """The knee of the mix, on a server of its own."""
    with process.folder() as folder, soak_server.Restartable(orderwire, folder) as server:
        knee = soak_mix.Knee(server.running, args.p99, 5, say)
        rate = knee.find()
    say(f"the knee is at {rate:,} events/s")
    return {"rate": rate, "steps": knee.steps}


class Soak:
    """One run, and everything that it measured until now."""

    def __init__(self, args, orderwire, knee):
        self.args, self.orderwire, self.knee = args, orderwire, knee
        self.rate = args.share * knee["rate"]
        self.length = 60 * args.minutes / soak_flat.SLICES
        self.every = min(SAMPLE_EVERY_SECONDS, self.length / 3)
        self.parts = [part for part in soak_mix.PARTS if not (args.no_consumer and part is soak_mix.CONSUMER)]
        self.server = self.ledger = None
        self.slice = self.begun = None
        self.sample_at = 0
        # What is due in this slice: (moment, what to do).
        self.due = []
        self.complete, self.problem = False, None
        self.measured = {
            "rate": self.rate, "slice_seconds": self.length, "sample_every_seconds": self.every, "knee": knee,
            "samples": [], "slices": [], "events": [], "content": {}, "looked_seconds": 0, "totals": {},
            "accepted": {"now": {part.name: 0 for part in self.parts}}, "ledger": None,
        }

    def run(self):
        say(f"{self.rate:,.0f} events/s for {self.args.minutes:g} minutes, in {soak_flat.SLICES} slices of {self.length:.1f} s")
        with process.folder() as folder, soak_server.Restartable(self.orderwire, folder) as self.server:
            self.ledger = soak_ledger.Ledger(self.server.port, self.server.running.key)
            self.ledger.start()
            try:
                self._load()
                self._settle()
                self.complete = True
            except KeyboardInterrupt:
                say("interrupted; ending in order")
                self._settle()
            except process.Failed as problem:
                self.problem = str(problem)
            finally:
                self.ledger.stop()

    def _load(self):
        self.begun = time.monotonic()
        self.sample_at = self.begun
        warm_ups = max(1, round(self.args.warm_up / self.length))
        for number in range(-warm_ups, soak_flat.SLICES):
            self.slice, begun = number, time.monotonic()
            in_it = begun + self.length / 3
            self.due = {soak_flat.TERM_AT: [(in_it, self._restart)], soak_flat.KILL_AT: [(in_it, self._kill)]}.get(number, [])
            try:
                found = soak_mix.run(self.server.running, self.parts, self.rate, self.length, self._tick)
            except KeyboardInterrupt as interruption:
                if interruption.args:
                    self._add(begun, interruption.args[0])
                raise
            self._add(begun, found)
            if self.ledger.problem:
                raise process.Failed(f"the ledger's part ended: {self.ledger.problem}")

    def _tick(self):
        now = time.monotonic()
        if self.server.server.process.poll() is not None:
            raise process.Failed(f"the server ended by itself: {self.server.server.said()}")
        if self.due and now >= self.due[0][0]:
            self.due.pop(0)[1]()
        if now >= self.sample_at:
            self.sample_at = now + self.every
            sample = soak_samples.take(self.server.running, self.begun, self.slice)
            if sample:
                self.measured["samples"].append(sample)

    def _restart(self):
        stopped = self.server.terminate()
        accepted = self.measured["accepted"]
        # What the slice that runs sent until now is not counted yet.
        so_far = self.rate * self.length / 3
        accepted["middle"] = {part.name: accepted["now"][part.name] + round(part.share * so_far) for part in self.parts}
        begun = time.monotonic()
        self.measured["content"]["middle"] = self.server.content()
        looked = self.measured["looked_seconds"] = round(time.monotonic() - begun, 2)
        self._event("SIGTERM", stopped=stopped, looked=looked, started=self.server.start())

    def _kill(self):
        self.server.kill()
        self._event("SIGKILL", started=self.server.start())

    def _event(self, what, **seconds):
        at = round(time.monotonic() - self.begun, 2)
        self.measured["events"].append({"at": at, "slice": self.slice, "what": what, **seconds})
        say(f"{what}: " + ", ".join(f"{name} in {taken:g} s" for name, taken in seconds.items()))

    def _add(self, begun, found):
        at = round(begun - self.begun, 2)
        self.measured["slices"].append({"slice": self.slice, "at": at, "parts": found})
        accepted = self.measured["accepted"]
        for name, figures in found.items():
            accepted["now"][name] += figures["requests"]
        self._progress(found)

    def _progress(self, found):
        name = f"slice {self.slice + 1} of {soak_flat.SLICES}" if self.slice >= 0 else "warm-up"
        words = []
        for part, figures in found.items():
            p99 = f"p99 {figures['p99_ms']:.1f} ms" if figures["p99_ms"] is not None else "no answer"
            failed = f", {figures['failed']:,} failed" if figures["failed"] else ""
            words.append(f"{part} {figures['per_second']:,.0f}/s {p99}{failed}")
            words += figures["problems"]
        if self.measured["samples"]:
            last = self.measured["samples"][-1]
            files = sum(last["files"].values()) / 2**20
            words.append(f"{last['rss_kib'] / 1024:.0f} MiB, {last['descriptors']} descriptors, {last['waiting']:,} wait, files {files:.0f} MiB")
        say(f"{name}: {'; '.join(words)}")

    def _settle(self):
        """After the load: everything that was accepted has to come out."""
        running = self.server.running
        self.ledger.end_producing()
        drained = soak_mix.drain(running, 30) if not self.args.no_consumer else 0
        self.ledger.end()
        self.measured["ledger"] = self.ledger.check(running)
        accepted = self.measured["accepted"]
        accepted["end"] = dict(accepted["now"])
        queue = json.loads(running.call("GET", "/v1/queues/load"))
        acked = sum(one["parts"].get("consumer", {"units": 0})["units"] for one in self.measured["slices"])
        failed = lambda part: sum(one["parts"].get(part, {"failed": 0})["failed"] for one in self.measured["slices"])
        self.measured["totals"] = {
            "accepted": accepted["end"]["events"], "without_success": failed("events"),
            "acked": acked + drained, "acks_without_success": failed("consumer"),
            "waiting": queue["ready"] + queue["in_flight"] + queue["delayed"], "dead": queue["dead"],
        }
        self.measured["events"].append({"at": round(time.monotonic() - self.begun, 2), "what": "end", "stopped": self.server.terminate()})
        self.measured["content"]["end"] = self.server.content()


def tell(about, soak):
    """Prints and writes what was measured; the exit code."""
    measured = soak.measured
    totals, ledger = measured["totals"], measured["ledger"]
    figures = soak_flat.judge(measured) if soak.complete else []
    table = soak_flat.table(figures)
    title = f"Orderwire {about['versions']['orderwire']}: {soak.args.minutes:g} minutes at {soak.rate:,.0f} events/s"
    path = written(about, measured, figures, title, table)
    if soak.complete:
        print(table)
    if ledger:
        print(counted(totals, ledger))
    say(f"in {path} and {path.with_suffix('.html').name}")
    if soak.problem:
        return say(f"ENDED EARLY: {soak.problem}", 3)
    if not soak.complete:
        return say("interrupted: no verdict", 130)
    bad = [one for one in figures if not one.flat]
    for one in bad:
        before, after, most = (soak_flat.shown(value, one.unit) for value in (one.before, one.after, one.most))
        print(f"NOT FLAT: {one.name}: {before}, then {after} ({one.growth()}); at most {most}")
    print("FLAT" if not bad else f"{len(bad)} of {len(figures)} figures are not flat")
    return 1 if bad else 0


def counted(totals, ledger):
    return (
        f"\nload: {totals['accepted']:,} events were accepted ({totals['without_success']:,} more were refused or got no answer), "
        f"{totals['acked']:,} acked ({totals['acks_without_success']:,} leases and acks of up to {soak_mix.LEASED} were refused or got no answer), {totals['waiting']:,} wait, {totals['dead']:,} are dead"
        f"\nledger: {ledger['events_accepted']:,} events and {ledger['rows_accepted']:,} rows were accepted, "
        f"{ledger['events_lost']:,} and {ledger['rows_lost']:,} are lost, {ledger['events_repeated']:,} events came again, "
        f"{ledger['rows_doubled']:,} rows are there twice; "
        f"{sum(ledger['refusals'].values()):,} requests were refused and repeated"
    )


def written(about, measured, figures, title, table):
    report.RESULTS.mkdir(exist_ok=True)
    now = datetime.datetime.now(datetime.timezone.utc)
    path = report.RESULTS / f"soak-{now:%Y-%m-%dT%H%M%SZ}.json"
    verdict = [{**vars(one), "flat": one.flat} for one in figures]
    content = {"at": now.isoformat(timespec="seconds"), **about, "verdict": verdict, **measured}
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    path.with_suffix(".html").write_text(soak_plot.page(title, table, measured), encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
