//! A chart as inline SVG. Colours are classes, so that the page decides them, for
//! light and for dark.

use super::axis::Axis;
use super::text::Escaped;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 320.0;
/// Where the curves begin and end, and where they stand.
const LEFT: f64 = 64.0;
const END: f64 = WIDTH - 20.0;
const FOOT: f64 = HEIGHT - 50.0;
/// With a legend, and without one.
const TOP: f64 = 34.0;
const TOP_BARE: f64 = 14.0;
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
    /// How it looks: `c1` to `c4`, or `rule`.
    pub(super) class: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

/// A straight line through the whole chart.
#[derive(Debug)]
pub(super) enum Rule {
    /// At a height, with words.
    Across(f64, String),
    /// At a place, with words at its top.
    Up(f64, String),
    /// At a place, with words at its foot, below a curve that rises.
    UpFromFoot(f64, String),
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
        let named = self.curves.iter().any(|curve| curve.name.is_some());
        let top = if named { TOP } else { TOP_BARE };
        let mut drawing = Drawing { chart: self, top, out: String::with_capacity(8 << 10) };
        drawing.out.push_str(&format!(
            r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg"><title>{}</title>"#,
            Escaped(self.title)
        ));
        drawing.grid();
        self.rules.iter().for_each(|rule| drawing.rule(rule));
        self.curves.iter().for_each(|curve| drawing.curve(curve));
        self.marks.iter().for_each(|mark| drawing.mark(mark));
        drawing.legend();
        drawing.out.push_str("</svg>");
        drawing.out
    }
}

/// A chart on its way to text.
struct Drawing<'a> {
    chart: &'a Chart,
    /// Where the area of the curves begins.
    top: f64,
    out: String,
}

impl Drawing<'_> {
    fn x(&self, value: f64) -> Option<f64> {
        self.chart.x.at(value).map(|at| LEFT + at * (END - LEFT))
    }

    fn y(&self, value: f64) -> Option<f64> {
        self.chart.y.at(value).map(|at| FOOT - at * (FOOT - self.top))
    }

    fn path(&mut self, class: &str, path: &str) {
        self.out.push_str(&format!(r#"<path class="{class}" d="{path}"/>"#));
    }

    /// `class` also says where the text stands: at its `start`, `middle` or `end`.
    fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let text = Escaped(text);
        self.out.push_str(&format!(r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{text}</text>"#));
    }

    fn grid(&mut self) {
        let top = self.top;
        for (value, label) in self.chart.y.ticks() {
            let Some(y) = self.y(value) else { continue };
            self.path("grid", &format!("M{LEFT} {y:.1}H{END}"));
            self.text("end", LEFT - 8.0, y + 4.0, &label);
        }
        for (value, label) in self.chart.x.ticks() {
            let Some(x) = self.x(value) else { continue };
            self.path("grid", &format!("M{x:.1} {top}V{FOOT}"));
            self.text("middle", x, FOOT + 18.0, &label);
        }
        self.path("axis", &format!("M{LEFT} {top}V{FOOT}H{END}"));
        self.text("middle name", f64::midpoint(LEFT, END), HEIGHT - 10.0, &self.chart.x.label);
        self.out.push_str(&format!(
            r#"<text class="middle name" transform="translate(16 {}) rotate(-90)">{}</text>"#,
            f64::midpoint(top, FOOT),
            Escaped(&self.chart.y.label)
        ));
    }

    fn rule(&mut self, rule: &Rule) {
        match rule {
            Rule::Across(value, words) => {
                let Some(y) = self.y(*value) else { return };
                self.path("rule", &format!("M{LEFT} {y:.1}H{END}"));
                // Below it where there is no room above.
                let y = if y - self.top < 20.0 { y + 15.0 } else { y - 5.0 };
                self.text("start", LEFT + 6.0, y, words);
            }
            Rule::Up(value, words) => self.up(*value, words, self.top + 14.0),
            Rule::UpFromFoot(value, words) => self.up(*value, words, FOOT - 8.0),
        }
    }

    fn up(&mut self, value: f64, words: &str, y: f64) {
        let Some(x) = self.x(value) else { return };
        self.path("rule", &format!("M{x:.1} {}V{FOOT}", self.top));
        // Before it where there is no room behind.
        if x + 6.0 + width(words) > END {
            self.text("end", x - 6.0, y, words);
        } else {
            self.text("start", x + 6.0, y, words);
        }
    }

    fn curve(&mut self, curve: &Curve) {
        let mut path = String::new();
        let mut pen = 'M';
        let mut before = None;
        for (x, y) in &curve.points {
            let place = self.x(*x).zip(self.y(*y));
            match place {
                Some((x, y)) => {
                    path.push_str(&format!("{pen}{x:.1} {y:.1}"));
                    pen = 'L';
                }
                // A line to where it stands is a dot.
                None if before.is_some() => {
                    path.push_str("h0");
                    pen = 'M';
                }
                None => {}
            }
            before = place;
        }
        if before.is_some() {
            path.push_str("h0");
        }
        self.path(curve.class, &path);
    }

    fn mark(&mut self, mark: &Mark) {
        let Some((x, y)) = self.x(mark.at.0).zip(self.y(mark.at.1)) else { return };
        let title = Escaped(&mark.title);
        self.out.push_str(&if mark.good {
            format!(r#"<circle class="good" cx="{x:.1}" cy="{y:.1}" r="4.5"><title>{title}</title></circle>"#)
        } else {
            let cross = format!("M{x:.1} {y:.1}m-4.5 -4.5l9 9m0 -9l-9 9");
            format!(r#"<path class="bad" d="{cross}"><title>{title}</title></path>"#)
        });
    }

    fn legend(&mut self) {
        let mut x = LEFT;
        for curve in &self.chart.curves {
            let Some(name) = &curve.name else { continue };
            self.path(curve.class, &format!("M{x:.1} 16h18"));
            self.text("start", x + 24.0, 20.0, name);
            x += 44.0 + width(name);
        }
    }
}

/// About how wide a text is.
#[expect(clippy::cast_precision_loss, reason = "a few letters")]
fn width(text: &str) -> f64 {
    text.chars().count() as f64 * CHARACTER
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> String {
        let chart = Chart {
            title: "t",
            x: Axis::up_to(10.0, "x"),
            y: Axis::log([1.0, 10.0].into_iter(), "y"),
            curves: vec![Curve { name: None, class: "c1", points }],
            rules: Vec::new(),
            marks: Vec::new(),
        };
        chart.svg()
    }

    #[test]
    fn a_line_goes_through_its_points() {
        let svg = chart(vec![(0.0, 1.0), (10.0, 10.0)]);
        assert!(svg.contains(r#"class="c1" d="M64.0 270.0L740.0 14.0h0""#), "{svg}");
    }

    #[test]
    fn what_cannot_be_shown_interrupts_a_line_and_a_lonely_point_is_a_dot() {
        let svg = chart(vec![(0.0, 1.0), (5.0, 0.0), (5.0, f64::NAN), (10.0, 10.0)]);
        assert!(svg.contains(r#"class="c1" d="M64.0 270.0h0M740.0 14.0h0""#), "{svg}");
    }
}
