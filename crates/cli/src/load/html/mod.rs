//! The report as one HTML file that needs nothing else: no network, no script.
//! It is XML as well, which a test parses.

mod axis;
mod chart;
mod plots;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use text::Escaped;

use super::report::{Figures, Latency, Ramp, Range, Report};
use crate::out::count;
use axis::number;

const STYLE: &str = include_str!("page.css");

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let title = format!("orderwire load {}", report.scenario);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n",
        title = Escaped(&title),
    );
    let version = report.server.version.as_deref().unwrap_or("a server of unknown kind");
    out.push_str(&format!(
        "<p class=\"soft\">{} at {}, {}</p>\n",
        Escaped(version),
        Escaped(report.server.url.trim_end_matches('/')),
        report.begun_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    ));
    if report.stopped {
        out.push_str("<p><b>Stopped early</b>: this is what was measured until then.</p>\n");
    }
    let since = report.since();
    if let Some(ramp) = &report.ramp {
        out.push_str(&climb(ramp, report.unit));
    }
    if let Some(detail) = &report.detail {
        out.push_str(&tiles(&detail.figures, report.unit));
        out.push_str(&format!(
            "<p class=\"soft\">{} requests in {} s over {} connections, latency {since}</p>\n",
            count(detail.figures.requests),
            number(detail.figures.seconds),
            count(report.connections as u64)
        ));
        let answered = detail.figures.requests > 0;
        if answered {
            section(&mut out, "Latency by percentile", &plots::percentiles(detail, since).svg());
            out.push_str(&latencies(&detail.figures, since));
        }
        section(&mut out, "Throughput over time", &plots::throughput(report, detail).svg());
        if answered {
            section(&mut out, "Latency over time", &plots::latency(detail, since).svg());
        }
        section(&mut out, "Errors", &errors(&detail.figures));
    }
    if let Some(spread) = &report.spread {
        let row = |name: &str, range: Range| {
            vec![name.to_owned(), number(range.median), number(range.lowest), number(range.highest)]
        };
        let rows = [
            row("requests/s", spread.requests_per_second),
            row(&format!("{}/s", report.unit), spread.units_per_second),
            row("p50, ms", spread.p50_ms),
            row("p99, ms", spread.p99_ms),
        ];
        let title = format!("{} runs", report.runs.len());
        section(&mut out, &title, &table(&["", "median", "lowest", "highest"], 1, rows));
    }
    section(&mut out, "Settings", &settings(report));
    out.push_str("</body>\n</html>\n");
    out
}

fn section(out: &mut String, title: &str, content: &str) {
    out.push_str(&format!("<h2>{}</h2>\n{content}\n", Escaped(title)));
}

fn climb(ramp: &Ramp, unit: &str) -> String {
    let objective = format!("p99 of {} ms and {} % errors", ramp.p99_ms, ramp.error_percent);
    let mut out = match ramp.knee {
        Some(knee) => format!(
            "<p>The knee is at <b>{} requests/s</b>, the highest rate that kept {objective}{}. What follows it was measured there.</p>\n",
            number(knee),
            if ramp.broke { "" } else { "; no rate broke it" }
        ),
        None => format!("<p><b>No rate kept {objective}.</b></p>\n"),
    };
    section(&mut out, "p99 by rate", &plots::ramp(ramp).svg());
    let rows = ramp.steps.iter().map(|step| {
        let Figures { requests_per_second, units_per_second, latency_ms, error_percent, .. } = &step.figures;
        let figures = [
            step.rate,
            *requests_per_second,
            *units_per_second,
            latency_ms.p50,
            latency_ms.p99,
            latency_ms.max,
        ];
        let mut row: Vec<String> = figures.map(number).to_vec();
        row.extend([format!("{error_percent:.2}"), step.broken.clone().unwrap_or_else(|| "kept".to_owned())]);
        row
    });
    let per_second = format!("{unit}/s");
    let header = ["due/s", "requests/s", &per_second, "p50 ms", "p99 ms", "max ms", "errors %", "objective"];
    out.push_str(&numbers(&header, 0..7, rows));
    out
}

fn tiles(figures: &Figures, unit: &str) -> String {
    let Latency { p50, p99, p999, max, .. } = figures.latency_ms;
    let tiles = [
        (number(figures.units_per_second), format!("{unit}/s")),
        (number(p50), "ms p50".to_owned()),
        (number(p99), "ms p99".to_owned()),
        (number(p999), "ms p99.9".to_owned()),
        (number(max), "ms max".to_owned()),
        (count(figures.errors.values().sum()), "errors".to_owned()),
    ];
    let tile = |(value, name): &(String, String)| {
        format!("<li><b>{value}</b><span class=\"soft\">{}</span></li>", Escaped(name))
    };
    format!("<ul class=\"tiles\">{}</ul>\n", tiles.iter().map(tile).collect::<String>())
}

fn latencies(figures: &Figures, since: &str) -> String {
    let row = |name: &str, times: &Latency| {
        let Latency { p50, p90, p99, p999, max } = *times;
        let figures = [p50, p90, p99, p999, max].map(number);
        std::iter::once(name.to_owned()).chain(figures).collect::<Vec<_>>()
    };
    let whole = row(&format!("whole request, {since}"), &figures.latency_ms);
    let stages = figures.stages_ms.iter().map(|(stage, times)| row(stage, times));
    table(&["ms", "p50", "p90", "p99", "p99.9", "max"], 1, std::iter::once(whole).chain(stages))
}

/// Bars, the longest for the most frequent.
fn errors(figures: &Figures) -> String {
    let mut out = String::new();
    if figures.not_sent > 0 {
        let not_sent = count(figures.not_sent);
        out.push_str(&format!("<p>{not_sent} requests were due and not sent: no connection was free.</p>\n"));
    }
    if figures.errors.is_empty() {
        out.push_str("<p>No request failed.</p>");
        return out;
    }
    out.push_str(&bars(&figures.errors));
    out
}

#[expect(clippy::cast_precision_loss, reason = "the length of a bar")]
fn bars(errors: &BTreeMap<String, u64>) -> String {
    const BAR: usize = 28;
    let most = errors.values().copied().max().unwrap_or(1).max(1);
    let height = errors.len() * BAR;
    let mut out = format!(
        "<svg viewBox=\"0 0 760 {height}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\"><title>Errors by kind</title>"
    );
    for (number, (error, times)) in errors.iter().enumerate() {
        let (y, width) = (number * BAR, (*times as f64 / most as f64 * 480.0).max(1.0));
        out.push_str(&format!(
            "<text class=\"end name\" x=\"140\" y=\"{}\">{}</text>\
             <rect x=\"150\" y=\"{}\" width=\"{width:.1}\" height=\"16\" rx=\"2\"/>\
             <text class=\"start\" x=\"{:.1}\" y=\"{}\">{}</text>",
            y + 18,
            Escaped(error),
            y + 6,
            width + 158.0,
            y + 18,
            count(*times)
        ));
    }
    out.push_str("</svg>");
    out
}

fn settings(report: &Report) -> String {
    let machine = &report.machine;
    let mut rows = vec![
        vec!["scenario".to_owned(), report.scenario.clone()],
        vec!["server".to_owned(), report.server.version.clone().unwrap_or_else(|| "unknown".to_owned())],
    ];
    rows.extend(report.settings.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]));
    if let Some(detail) = &report.detail {
        let generator = &detail.figures.generator;
        let late = if report.rate.is_some() {
            format!(", at most {} ms late", number(generator.late_ms_max))
        } else {
            String::new()
        };
        let used = format!("{}, busy on {:.2} cores{late}", machine.generator, generator.cores);
        rows.push(vec!["generator".to_owned(), used]);
    }
    let processor = machine.processor.as_deref().unwrap_or("a processor of unknown kind");
    rows.push(vec!["machine of the generator".to_owned(), format!("{} cores, {processor}", machine.cores)]);
    rows.extend(machine.memory_mib.map(|mib| vec!["its memory".to_owned(), format!("{} MiB", count(mib))]));
    rows.push(vec!["its system".to_owned(), machine.system.clone()]);
    table(&["", ""], 2, rows)
}

/// A table; its columns from `first` on are numbers.
fn table(header: &[&str], first: usize, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    numbers(header, first..header.len(), rows)
}

fn numbers(
    header: &[&str],
    numeric: std::ops::Range<usize>,
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let cell = |tag: &str, column: usize, text: &str| {
        let class = if numeric.contains(&column) { " class=\"n\"" } else { "" };
        format!("<{tag}{class}>{}</{tag}>", Escaped(text))
    };
    let mut out = String::from("<table>\n");
    if header.iter().any(|name| !name.is_empty()) {
        let cells: String = header.iter().enumerate().map(|(i, name)| cell("th", i, name)).collect();
        out.push_str(&format!("<tr>{cells}</tr>\n"));
    }
    for row in rows {
        let cells: String = row.iter().enumerate().map(|(i, text)| cell("td", i, text)).collect();
        out.push_str(&format!("<tr>{cells}</tr>\n"));
    }
    out.push_str("</table>");
    out
}
