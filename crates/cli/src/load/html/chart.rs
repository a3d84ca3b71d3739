//! A chart as inline SVG. Colours are classes, so that the page decides them, for
//! light and for dark.

use std::fmt::Write as _;

use super::axis::Axis;
use super::text::Escaped;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 50.0;
/// About how wide a character of a legend is.
const CHARACTER: f64 = 6.6;

/// Curves over two axes.
#[derive(Debug)]
pub(super) struct Chart {
    /// What it shows, for those who cannot see it.
    pub(super) title: &'static str,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) curves: Vec<Curve>,
    pub(super) rules: Vec<Rule>,
    pub(super) marks: Vec<Mark>,
}

/// A line through points; a point that the axes cannot show interrupts it.
#[derive(Debug)]
pub(super) struct Curve {
    /// None is in no legend.
    pub(super) name: Option<String>,
    /// The colour, from 1 to 4.
    pub(super) colour: u8,
    pub(super) points: Vec<(f64, f64)>,
}

/// A straight line through the whole chart.
#[derive(Debug)]
pub(super) enum Rule {
    /// At a height, with words.
    Across(f64, String),
    /// At a place, with words or without.
    Up(f64, String),
}

/// A point of its own.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) at: (f64, f64),
    pub(super) good: bool,
    /// Shown to who points at it.
    pub(super) title: String,
}

impl Chart {
    /// The whole element.
    pub(super) fn svg(&self) -> String {
        let mut out = String::with_capacity(8 << 10);
        push(
            &mut out,
            format_args!(
                r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg"><title>{}</title>"#,
                Escaped(self.title)
            ),
        );
        self.grid(&mut out);
        self.rules(&mut out);
        for curve in &self.curves {
            push(
                &mut out,
                format_args!(r#"<path class="c{}" d="{}"/>"#, curve.colour, self.line(&curve.points)),
            );
        }
        for mark in &self.marks {
            self.mark(mark, &mut out);
        }
        self.legend(&mut out);
        out.push_str("</svg>");
        out
    }

    fn x(&self, value: f64) -> Option<f64> {
        self.x.at(value).map(|at| LEFT + at * (WIDTH - LEFT - RIGHT))
    }

    fn y(&self, value: f64) -> Option<f64> {
        self.y.at(value).map(|at| HEIGHT - BOTTOM - at * (HEIGHT - TOP - BOTTOM))
    }

    fn grid(&self, out: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, label) in self.y.ticks() {
            let Some(y) = self.y(value) else { continue };
            push(out, format_args!(r#"<path class="grid" d="M{LEFT} {y:.1}H{right}"/>"#));
            let (x, y) = (LEFT - 8.0, y + 4.0);
            push(out, format_args!(r#"<text class="end" x="{x}" y="{y:.1}">{}</text>"#, Escaped(&label)));
        }
        for (value, label) in self.x.ticks() {
            let Some(x) = self.x(value) else { continue };
            push(out, format_args!(r#"<path class="grid" d="M{x:.1} {TOP}V{bottom}"/>"#));
            let y = bottom + 18.0;
            push(out, format_args!(r#"<text class="middle" x="{x:.1}" y="{y}">{}</text>"#, Escaped(&label)));
        }
        push(out, format_args!(r#"<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>"#));
        let (middle, y) = (f64::midpoint(LEFT, right), HEIGHT - 10.0);
        push(
            out,
            format_args!(
                r#"<text class="middle name" x="{middle}" y="{y}">{}</text>"#,
                Escaped(&self.x.label)
            ),
        );
        let middle = f64::midpoint(TOP, bottom);
        push(
            out,
            format_args!(
                r#"<text class="middle name" transform="translate(16 {middle}) rotate(-90)">{}</text>"#,
                Escaped(&self.y.label)
            ),
        );
    }

    fn rules(&self, out: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for rule in &self.rules {
            match rule {
                Rule::Across(value, words) => {
                    let Some(y) = self.y(*value) else { continue };
                    push(out, format_args!(r#"<path class="rule" d="M{LEFT} {y:.1}H{right}"/>"#));
                    let (x, y) = (LEFT + 6.0, y - 5.0);
                    push(
                        out,
                        format_args!(r#"<text class="start" x="{x}" y="{y:.1}">{}</text>"#, Escaped(words)),
                    );
                }
                Rule::Up(value, words) => {
                    let Some(x) = self.x(*value) else { continue };
                    push(out, format_args!(r#"<path class="rule" d="M{x:.1} {TOP}V{bottom}"/>"#));
                    // On the side where there is room.
                    let (class, x) =
                        if x > f64::midpoint(LEFT, right) { ("end", x - 6.0) } else { ("start", x + 6.0) };
                    let y = TOP + 14.0;
                    push(
                        out,
                        format_args!(r#"<text class="{class}" x="{x:.1}" y="{y}">{}</text>"#, Escaped(words)),
                    );
                }
            }
        }
    }

    fn line(&self, points: &[(f64, f64)]) -> String {
        let mut path = String::new();
        let mut pen = 'M';
        for (x, y) in points {
            match (self.x(*x), self.y(*y)) {
                (Some(x), Some(y)) => {
                    push(&mut path, format_args!("{pen}{x:.1} {y:.1}"));
                    pen = 'L';
                }
                _ => pen = 'M',
            }
        }
        path
    }

    fn mark(&self, mark: &Mark, out: &mut String) {
        let (Some(x), Some(y)) = (self.x(mark.at.0), self.y(mark.at.1)) else { return };
        let title = Escaped(&mark.title);
        if mark.good {
            push(
                out,
                format_args!(
                    r#"<circle class="good" cx="{x:.1}" cy="{y:.1}" r="4.5"><title>{title}</title></circle>"#
                ),
            );
        } else {
            push(
                out,
                format_args!(
                    r#"<path class="bad" d="M{x:.1} {y:.1}m-4.5 -4.5l9 9m0 -9l-9 9"><title>{title}</title></path>"#
                ),
            );
        }
    }

    fn legend(&self, out: &mut String) {
        let mut x = LEFT;
        for curve in &self.curves {
            let Some(name) = &curve.name else { continue };
            push(out, format_args!(r#"<path class="c{}" d="M{x:.1} 16h18"/>"#, curve.colour));
            x += 24.0;
            push(out, format_args!(r#"<text class="start" x="{x:.1}" y="20">{}</text>"#, Escaped(name)));
            #[expect(clippy::cast_precision_loss, reason = "a few letters")]
            let letters = name.chars().count() as f64;
            x += letters * CHARACTER + 20.0;
        }
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes everything");
}
