//! The report for people.

use super::{Figures, Latency, Ramp, Range, Report};
use crate::out::{ABSENT, Table, count, plain};

impl Report {
    /// Tables, and a sentence for what is out of the ordinary.
    pub(in crate::load) fn table(&self) -> String {
        let mut out = self.around();
        if let Some(ramp) = &self.ramp {
            out.push_str(&steps(ramp, self.unit));
        }
        if let Some(detail) = &self.detail {
            if self.ramp.is_some() {
                out.push_str("\nAt the knee:\n");
            }
            out.push_str(&self.figures(&detail.figures));
        }
        if let Some(spread) = &self.spread {
            out.push_str(&format!("\n{} runs:\n", self.runs.len()));
            let mut table = Table::new(["of the runs", "median", "lowest", "highest"]);
            let mut row = |name: &str, Range { median, lowest, highest }: Range, digits: usize| {
                let shown = |value: f64| format!("{value:.digits$}");
                table.row([name.to_owned(), shown(median), shown(lowest), shown(highest)]);
            };
            row("requests/s", spread.requests_per_second, 0);
            row(&format!("{}/s", self.unit), spread.units_per_second, 0);
            row("p50, ms", spread.p50_ms, 2);
            row("p99, ms", spread.p99_ms, 2);
            out.push_str(&table.render());
        }
        if self.stopped {
            out.push_str("stopped early: what was measured until then is above\n");
        }
        out
    }

    fn around(&self) -> String {
        let version = self.server.version.as_deref().unwrap_or("a server of unknown kind");
        let seed = self.settings.iter().find(|(name, _)| *name == "seed").map_or(ABSENT, |(_, seed)| seed);
        format!("{} at {}, seed {seed}\n\n", plain(version), self.server.url.trim_end_matches('/'))
    }

    fn figures(&self, figures: &Figures) -> String {
        let mut table =
            Table::new(["scenario", "connections", "seconds", "requests", "requests/s", "units/s"]);
        table.row([
            self.scenario.clone(),
            self.connections.to_string(),
            format!("{:.1}", figures.seconds),
            count(figures.requests),
            format!("{:.0}", figures.requests_per_second),
            format!("{:.0} {}", figures.units_per_second, self.unit),
        ]);
        let mut times = Table::new(["latency", "p50", "p90", "p99", "p99.9", "max"]);
        let mut row = |name: String, latency: &Latency| {
            let Latency { p50, p90, p99, p999, max } = *latency;
            let [p50, p90, p99, p999, max] = [p50, p90, p99, p999, max].map(|ms| format!("{ms:.2}"));
            times.row([name, p50, p90, p99, p999, max]);
        };
        row(format!("{}, ms", self.since()), &figures.latency_ms);
        for (stage, latency) in &figures.stages_ms {
            row(format!("{stage}, ms"), latency);
        }
        let mut out = format!("{}\n{}", table.render(), times.render());
        for (error, times) in &figures.errors {
            out.push_str(&format!("failed: {} with {}\n", count(*times), plain(error)));
        }
        if figures.not_sent > 0 {
            let not_sent = count(figures.not_sent);
            out.push_str(&format!("due and not sent: {not_sent} (no connection was free)\n"));
        }
        out.push_str(&format!("generator: busy on {:.2} cores", figures.generator.cores));
        if self.rate.is_some() {
            out.push_str(&format!(", at most {:.1} ms late", figures.generator.late_ms_max));
        }
        out.push('\n');
        out
    }
}

fn steps(ramp: &Ramp, unit: &str) -> String {
    let mut table = Table::new(["rate", "requests/s", "p50 ms", "p99 ms", "max ms", "errors %", "objective"]);
    for step in &ramp.steps {
        let Figures { requests_per_second, latency_ms, error_percent, .. } = &step.figures;
        table.row([
            format!("{:.0}", step.rate),
            format!("{requests_per_second:.0}"),
            format!("{:.2}", latency_ms.p50),
            format!("{:.2}", latency_ms.p99),
            format!("{:.2}", latency_ms.max),
            format!("{error_percent:.2}"),
            step.broken.clone().unwrap_or_else(|| "kept".to_owned()),
        ]);
    }
    let mut out = table.render();
    let objective = format!("p99 of {} ms and {} % errors", ramp.p99_ms, ramp.error_percent);
    let knee = ramp.steps.iter().filter(|step| step.broken.is_none());
    let knee = knee.max_by(|a, b| a.rate.total_cmp(&b.rate));
    out.push_str(&match knee {
        Some(step) => format!(
            "\nknee: {:.0} requests/s ({:.0} {unit}/s) kept {objective}{}\n",
            step.rate,
            step.figures.units_per_second,
            if ramp.broke { "" } else { "; no rate broke it" }
        ),
        None => format!("\nno rate kept {objective}\n"),
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::{Generator, Step};

    fn figures(errors: u64) -> Figures {
        Figures {
            seconds: 5.0,
            requests: 1_000,
            requests_per_second: 200.0,
            units_per_second: 400.0,
            latency_ms: Latency { p50: 1.0, p90: 2.0, p99: 3.0, p999: 4.0, max: 5.0 },
            stages_ms: Vec::new(),
            errors: [("503".to_owned(), errors)].into(),
            error_percent: 0.5,
            not_sent: 0,
            generator: Generator { cores: 0.5, late_ms_max: 1.0 },
        }
    }

    #[test]
    fn a_ramp_names_its_knee_and_why_the_others_broke() {
        let step = |rate, broken: Option<&str>| Step {
            rate,
            broken: broken.map(str::to_owned),
            figures: figures(5),
        };
        let steps = vec![step(200.0, None), step(400.0, Some("p99 90.0 ms, more than 50"))];
        let ramp = Ramp { p99_ms: 50.0, error_percent: 0.1, knee: Some(200.0), broke: true, steps };
        assert_eq!(
            steps_of(&ramp),
            "RATE  REQUESTS/S  P50 MS  P99 MS  MAX MS  ERRORS %  OBJECTIVE\n \
             200         200    1.00    3.00    5.00      0.50  kept\n \
             400         200    1.00    3.00    5.00      0.50  p99 90.0 ms, more than 50\n\n\
             knee: 200 requests/s (400 events/s) kept p99 of 50 ms and 0.1 % errors\n"
        );
        let none = Ramp { knee: None, steps: vec![step(100.0, Some("x"))], ..ramp };
        assert!(steps_of(&none).ends_with("\nno rate kept p99 of 50 ms and 0.1 % errors\n"));
    }

    fn steps_of(ramp: &Ramp) -> String {
        steps(ramp, "events")
    }
}
