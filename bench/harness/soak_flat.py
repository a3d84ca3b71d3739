"""Whether what was measured is flat: the second quarter of the time beside the last.

Both lie behind a warm-up and behind no restart: the two restarts are at the beginning of
the third quarter, so that both quarters see a process of about the same age.
"""

import dataclasses
import statistics

from . import soak_mix, soak_server

SLICES = 32
QUARTER = SLICES // 4
EIGHTH = SLICES // 8
SECOND, LAST = range(QUARTER, 2 * QUARTER), range(3 * QUARTER, SLICES)
# Where the restarts are.
TERM_AT, KILL_AT = 2 * QUARTER, 2 * QUARTER + 2
# The two and what follows them: what waited meanwhile is made up for.
RESTARTS = range(TERM_AT, 3 * QUARTER)

GROWTH = 0.10
DESCRIPTORS = 5
# How far the log of a file may go by itself: beyond it the server empties it.
LOG_BYTES = 64 << 20
# Pages that are free by chance at the moment of a look.
SLACK_BYTES = 4 << 20
# A start sweeps for the first time after a minute, so that two in a row leave rows for
# so much longer: once, in pages that are used again.
SWEPT_LATE_SECONDS = 75
NOISY_GROWTH = 0.25
NOISE_MOST = 2
FAILED, NOT_SENT = 0.001, 0.01
OUTAGE_SECONDS = 10


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure before and after, what it may be at most, and whether it is."""

    name: str
    unit: str
    before: float
    after: float
    most: float
    bound: str

    @property
    def flat(self):
        return self.after <= self.most

    def growth(self):
        return f"{100 * (self.after / self.before - 1):+.1f} %" if self.before else "-"


def judge(measured):
    """Every figure of a run that reached its end."""
    samples, slices = measured["samples"], measured["slices"]
    figures = [*process_figures(samples), *waiting_figures(samples, measured["rate"]), *log_figures(samples)]
    figures += [*content_figures(measured), *latency_figures(slices), *error_figures(slices)]
    return figures + restart_figures(measured)


def process_figures(samples):
    for key, name in (("rss_kib", "memory, VmRSS"), ("anon_kib", "memory, RssAnon")):
        quarters = [median(samples, key, when) / 1024 for when in (SECOND, LAST)]
        yield grown(name, "MiB", *quarters)
        halves = {"first": (range(EIGHTH, 2 * EIGHTH), range(3 * EIGHTH, 4 * EIGHTH))}
        halves["second"] = (range(5 * EIGHTH, 6 * EIGHTH), range(7 * EIGHTH, SLICES))
        for half, pair in halves.items():
            eighths = [median(samples, key, when) / 1024 for when in pair]
            yield grown(f"{name}, within the {half} half", "MiB", *eighths)
    before, after = (busy(samples, when) for when in (SECOND, LAST))
    yield Figure("processor", "cores", before, after, (1 + NOISY_GROWTH) * before, "25 %")
    for key in ("descriptors", "threads"):
        before, after = (median(samples, key, when) for when in (SECOND, LAST))
        yield Figure(key, "", before, after, before + DESCRIPTORS, f"at most {DESCRIPTORS} more")


def waiting_figures(samples, rate):
    for key, name in (("waiting", "events that wait"), ("recording", "requests of rows that wait")):
        before, after = (median(samples, key, when) for when in (SECOND, LAST))
        yield Figure(name, "", before, after, max((1 + GROWTH) * before, rate), "10 %, or a second's worth")


def log_figures(samples):
    for file in ("queue.db-wal", "store.db-wal"):
        before, after = (
            max((sample["files"].get(file, 0) for sample in samples if sample["slice"] in when), default=0)
            for when in (SECOND, LAST)
        )
        most = max((1 + GROWTH) * before, LOG_BYTES)
        yield Figure(f"{file}, the longest", "MiB", mib(before), mib(after), mib(most), "10 %, or 64 MiB")


def content_figures(measured):
    """Files at the stop in the middle and at the end: without what is kept on purpose, and that for each request."""
    middle, end = measured["content"]["middle"], measured["content"]["end"]
    for file in middle:
        before, after = (content[file]["bytes"] - content[file]["history"] for content in (middle, end))
        slack, bound = SLACK_BYTES, "10 %, or 4 MiB"
        if file == soak_server.ROWS_FILE:
            slack += late_bytes(measured, middle[file])
            bound = f"10 %, or 4 MiB and the rows of {SWEPT_LATE_SECONDS} s"
        most = max((1 + GROWTH) * before, before + slack)
        yield Figure(f"{file} without its history", "MiB", mib(before), mib(after), mib(most), bound)
    for file, part in (("queue.db", "events"), ("store.db", "rows")):
        before, after = (
            content[file]["history"] / max(1, measured["accepted"][when][part])
            for when, content in (("middle", middle), ("end", end))
        )
        yield grown(f"history in {file}, for each request of {part}", "bytes", before, after)


def late_bytes(measured, content):
    each = content["tables"].get("data_load", 0) / max(1, content["rows"])
    return each * SWEPT_LATE_SECONDS * measured["rate"] * soak_mix.ROWS.share * soak_mix.ROWS_EACH


def latency_figures(slices):
    for part in slices[-1]["parts"]:
        for key in ("p50_ms", "p99_ms"):
            before, after = (
                [one["parts"][part][key] for one in slices if one["slice"] in when and one["parts"][part][key] is not None]
                for when in (SECOND, LAST)
            )
            if not before or not after:
                continue
            low, _, high = statistics.quantiles(before, n=4)
            # The usual fence of outliers: where a slice of the second quarter would be one.
            fence = high + 1.5 * (high - low)
            middle = statistics.median(before)
            # A median of slices differs by less than they do, so noise excuses only so much.
            most = min(max((1 + NOISY_GROWTH) * middle, fence), NOISE_MOST * middle)
            name = f"{part}, {key[:3]} of a slice, median"
            yield Figure(name, "ms", middle, statistics.median(after), most, "25 %, or the noise of the second quarter")


def error_figures(slices):
    quiet = [one for one in slices if one["slice"] not in RESTARTS]
    for part in slices[-1]["parts"]:
        halves = []
        for when in (range(0, TERM_AT), LAST):
            found = [one["parts"][part] for one in quiet if one["slice"] in when]
            done, failed, not_sent = (sum(one[key] for one in found) for key in ("requests", "failed", "not_sent"))
            halves.append((100 * failed / max(1, done + failed), 100 * not_sent / max(1, done + failed + not_sent)))
        (failed, not_sent), (failed_last, not_sent_last) = halves
        yield Figure(f"{part}, failed beside the restarts", "%", failed, max(failed, failed_last), 100 * FAILED, "0.1 %")
        yield Figure(f"{part}, not sent", "%", not_sent, max(not_sent, not_sent_last), 100 * NOT_SENT, "1 %")


def restart_figures(measured):
    ledger = measured["ledger"]
    lost = [(f"{what} that were accepted and are lost", ledger[f"{what}_lost"]) for what in ("events", "rows")]
    lost.append(("rows that were recorded twice", ledger["rows_doubled"]))
    totals = measured["totals"]
    gone = totals["accepted"] - totals["acked"] - totals["waiting"] - totals["dead"]
    # An ack whose answer was lost may have taken effect, and was not counted then.
    unknown = soak_mix.LEASED * totals["acks_without_success"]
    lost.append(("events of load that are neither acked nor there", max(0, gone - unknown)))
    figures = [Figure(name, "", 0, count, 0, "none") for name, count in lost]
    longest = max((seconds for _, seconds in ledger["outages"]), default=0)
    # How long the look at the files took is none of the server's.
    longest = max(0, longest - measured["looked_seconds"])
    figures.append(Figure("longest time without acceptance", "s", 0, longest, OUTAGE_SECONDS, f"{OUTAGE_SECONDS} s"))
    return figures


def grown(name, unit, before, after):
    return Figure(name, unit, before, after, (1 + GROWTH) * before, "10 %")


def median(samples, key, slices):
    found = [sample[key] for sample in samples if sample["slice"] in slices]
    return statistics.median(found) if found else 0


def busy(samples, slices):
    """On how many cores the server was busy."""
    found = [sample for sample in samples if sample["slice"] in slices]
    if len(found) < 2:
        return 0
    return (found[-1]["cpu_seconds"] - found[0]["cpu_seconds"]) / (found[-1]["at"] - found[0]["at"])


def mib(size):
    return size / 2**20


def table(figures):
    lines = ["| figure | second quarter | last quarter | growth | may grow by, or be | flat |", "|---|---|---|---|---|---|"]
    for one in figures:
        cells = (one.name, shown(one.before, one.unit), shown(one.after, one.unit), one.growth(), one.bound)
        lines.append(f"| {' | '.join(cells)} | {'yes' if one.flat else 'NO'} |")
    return "\n".join(lines)


def shown(value, unit):
    decimals = 0 if value >= 1000 or value == int(value) else 1 if value >= 10 else 2
    return f"{value:,.{decimals}f} {unit}".strip()
