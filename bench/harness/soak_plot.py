"""The samples of a soak as one page that loads nothing."""

import html

WIDTH, HEIGHT, LEFT = 900, 130, 80
COLORS = ("#2266bb", "#cc5522", "#228844", "#884499")


def page(title, table, measured):
    samples, slices = measured["samples"], measured["slices"]
    of = lambda key, scale=1: [(one["at"], one[key] / scale) for one in samples]
    size = lambda file: [(one["at"], one["files"].get(file, 0) / 2**20) for one in samples]
    plots = [
        plot("memory, MiB", {"VmRSS": of("rss_kib", 1024), "RssAnon": of("anon_kib", 1024)}, measured),
        plot("files, MiB", {"queue.db": size("queue.db"), "store.db": size("store.db")}, measured),
        plot("logs, MiB", {"queue.db-wal": size("queue.db-wal"), "store.db-wal": size("store.db-wal")}, measured),
        plot("descriptors, threads", {"descriptors": of("descriptors"), "threads": of("threads")}, measured),
        plot("waiting", {"events": of("waiting"), "requests of rows": of("recording")}, measured),
    ]
    parts = slices[-1]["parts"] if slices else []
    for key, name in (("p50_ms", "p50, ms"), ("p99_ms", "p99, ms")):
        lines = {
            part: [(one["at"], one["parts"][part][key]) for one in slices if one["parts"][part][key] is not None]
            for part in parts
        }
        plots.append(plot(name, lines, measured))
    head = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
        "<style>:root{color-scheme:light dark}body{font:14px sans-serif;max-width:1000px;margin:2em auto}"
        "text{font:12px sans-serif;fill:currentColor}pre{overflow:auto}</style>"
    )
    return f"{head}<h1>{html.escape(title)}</h1>{''.join(plots)}<pre>{html.escape(table)}</pre></html>\n"


def plot(name, lines, measured):
    points = [point for line in lines.values() for point in line]
    if not points:
        return ""
    most_x, most_y = max(x for x, _ in points) or 1, max(y for _, y in points) or 1
    at = lambda x: LEFT + x / most_x * (WIDTH - LEFT)
    drawn = [
        f'<text x="0" y="12">{most_y:,.4g}</text><text x="0" y="{HEIGHT}">0</text>',
        f'<path d="M{LEFT} 0V{HEIGHT}H{WIDTH}" fill="none" stroke="currentColor" opacity=".4"/>',
    ]
    for event in measured["events"]:
        drawn.append(
            f'<path d="M{at(event["at"]):.1f} 0V{HEIGHT}" stroke="#c00" stroke-dasharray="3"/>'
            f'<text x="{at(event["at"]) + 3:.1f}" y="12">{html.escape(event["what"])}</text>'
        )
    legend = []
    for color, (label, line) in zip(COLORS, lines.items()):
        path = " ".join(f"{at(x):.1f},{HEIGHT - y / most_y * (HEIGHT - 16):.1f}" for x, y in line)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        legend.append(f'<span style="color:{color}">{html.escape(label)}</span>')
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 4}" width="100%">{"".join(drawn)}</svg>'
    return f"<h2>{html.escape(name)}</h2><p>{', '.join(legend)}</p>{svg}"
