"""From figures to a table and a file."""

import datetime
import json
import statistics

from . import ours

RESULTS = ours.ROOT / "bench/results"


class Result:
    """The figures of one row, run by run; a contender without a figure says why."""

    OURS = "Orderwire"

    def __init__(self, row):
        self.row = row
        self.figures = {}
        self.missing = {}

    def add(self, name, figure):
        self.figures.setdefault(name, []).append(figure)

    def fail(self, name, why):
        """From now on this contender has no figure in this row."""
        self.missing[name] = why

    def values(self, name):
        return [] if name in self.missing else [figure.value for figure in self.figures.get(name, [])]

    def ratios(self, peer):
        """Ours by theirs, of the same run: both saw the same noise."""
        return [a / b for a, b in zip(self.values(self.OURS), self.values(peer))]

    def lines(self):
        """The lines of the table: one a peer, or one."""
        mine = self.cell(self.OURS)
        if not self.row.beside:
            values = self.values(self.OURS)
            wanted = self.row.wanted
            return [(self.row.title, mine, "-", "-", wanted.words, verdict(wanted, values))]
        lines = []
        for peer, wanted in self.row.beside:
            ratios = self.ratios(peer.name)
            ratio = spread(ratios, 2) if ratios else "not measured"
            words = wanted.words if wanted else "for orientation"
            theirs = f"{peer.name}: {self.cell(peer.name)}"
            lines.append((self.row.title, mine, theirs, ratio, words, verdict(wanted, ratios)))
        return lines

    def cell(self, name):
        values = self.values(name)
        return f"{spread(values)} {self.row.unit}" if values else "not measured"

    def to_json(self):
        row = self.row
        described = {row_peer.name: row_peer.durable for row_peer, _ in row.beside}
        described[self.OURS] = row.durable or None
        contenders = {}
        for name, promise in described.items():
            figures = self.figures.get(name, [])
            contenders[name] = {
                "durable": promise,
                "commands": sorted({figure.command for figure in figures}),
                "runs": [{"value": figure.value, **figure.details} for figure in figures],
                "not_measured": self.missing.get(name),
            }
        ratios = {peer.name: self.ratios(peer.name) for peer, _ in row.beside}
        wanted = {peer.name: wanted.words for peer, wanted in row.beside if wanted}
        if row.wanted:
            wanted[self.OURS] = row.wanted.words
        about = {"name": row.name, "title": row.title, "unit": row.unit, "note": row.note or None}
        return {**about, "wanted": wanted, "ratios": ratios, "contenders": contenders}


def verdict(wanted, values):
    if wanted is None or not values:
        return "-"
    return "yes" if wanted.reached(statistics.median(values)) else "NO"


def spread(values, decimals=None):
    """The median, with the lowest and the highest where there are several."""
    middle = statistics.median(values)
    if decimals is None:
        decimals = 0 if middle >= 100 else 1
    shown = [f"{value:,.{decimals}f}" for value in (middle, min(values), max(values))]
    return shown[0] if len(values) == 1 else f"{shown[0]} ({shown[1]} to {shown[2]})"


def table(results):
    lines = ["| row | ours | peer | ratio (median, lowest to highest) | wanted | reached |", "|---|---|---|---|---|---|"]
    for result in results:
        lines += [f"| {' | '.join(line)} |" for line in result.lines()]
    notes = [f"- {result.row.title}: {result.row.note}." for result in results if result.row.note]
    for result in results:
        notes += [f"- NOT MEASURED in {result.row.name}: {name}: {why}" for name, why in result.missing.items()]
    return "\n".join(lines + ([""] + notes if notes else []))


def write(about, results):
    """The file of this run: everything that belongs to its figures."""
    return write_json({**about, "rows": [result.to_json() for result in results]})


def write_json(content, end=""):
    """A file of its own in the folder of results, named by the moment."""
    RESULTS.mkdir(exist_ok=True)
    now = datetime.datetime.now(datetime.timezone.utc)
    path = RESULTS / f"{now:%Y-%m-%dT%H%M%SZ}{end}.json"
    content = {"at": now.isoformat(timespec="seconds"), **content}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
