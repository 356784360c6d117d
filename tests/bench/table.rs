//! Lines of figures with what is promised of ours, and the one table that they make.

use std::fmt::{self, Write};

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// What the measured program is called in every line.
pub const OURS: &str = "ours";

/// One thing that was measured, of ours and of others.
#[derive(Serialize)]
pub struct Line {
    pub what: String,
    pub figures: Vec<Figure>,
    pub promise: Option<Promise>,
}

/// What one program reached, a sample a run.
#[derive(Debug, Clone)]
pub struct Figure {
    pub who: String,
    /// None when every run failed.
    pub samples: Vec<f64>,
}

/// What ours shall reach.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Promise {
    pub limit: Limit,
    /// Whether the line measures just what is promised: at another size or rate it is a hint.
    pub exact: bool,
    /// Whether ours reached it.
    pub held: bool,
}

/// Which side of a number is right.
#[derive(Debug, Clone, Copy, Serialize)]
pub enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Line {
    pub fn new(what: impl Into<String>, figures: Vec<Figure>) -> Line {
        Line { what: what.into(), figures, promise: None }
    }

    /// Adds what is promised of ours.
    pub fn promised(mut self, limit: Limit, exact: bool) -> Line {
        let held = self.median(OURS).is_some_and(|median| limit.holds(median));
        self.promise = Some(Promise { limit, exact, held });
        self
    }

    /// The median of those samples, if there are any.
    pub fn median(&self, who: &str) -> Option<f64> {
        self.figure(who)?.median()
    }

    /// The medians ÷ `base`, as a line of its own.
    pub fn over(&self, base: f64, what: impl Into<String>) -> Line {
        let ratio = |figure: &Figure| {
            let samples = figure.median().map(|median| median / base);
            Figure { who: figure.who.clone(), samples: samples.into_iter().collect() }
        };
        Line::new(what, self.figures.iter().map(ratio).collect())
    }

    /// Leaves ours alone.
    pub fn only_ours(mut self) -> Line {
        self.figures.retain(|figure| figure.who == OURS);
        self
    }

    fn figure(&self, who: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.who == who)
    }
}

impl Figure {
    pub fn new(who: impl Into<String>, samples: Vec<f64>) -> Figure {
        Figure { who: who.into(), samples }
    }

    /// The middle one, or the mean of the middle two.
    pub fn median(&self) -> Option<f64> {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => None,
            length if length % 2 == 1 => Some(sorted[middle]),
            _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        }
    }

    /// The median, and how far the samples spread around it.
    fn with_spread(&self) -> String {
        let [least, most] = [f64::min, f64::max].map(|pick| self.samples.iter().copied().reduce(pick));
        match (least, most) {
            (Some(least), Some(most)) if short(least) != short(most) => {
                format!("{self} ({}–{})", short(least), short(most))
            }
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.median().map_or("failed".into(), short))
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Figure", 3)?;
        fields.serialize_field("who", &self.who)?;
        fields.serialize_field("median", &self.median())?;
        fields.serialize_field("samples", &self.samples)?;
        fields.end()
    }
}

impl Limit {
    pub fn holds(self, value: f64) -> bool {
        match self {
            Limit::AtMost(most) => value <= most,
            Limit::AtLeast(least) => value >= least,
        }
    }

    /// How far `value` is on the wrong side, as a part of the limit.
    fn missed_by(self, value: f64) -> f64 {
        match self {
            Limit::AtMost(most) => value / most - 1.0,
            Limit::AtLeast(least) => 1.0 - value / least,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::AtMost(most) => write!(f, "≤ {most}"),
            Limit::AtLeast(least) => write!(f, "≥ {least}"),
        }
    }
}

/// All lines as one table in Markdown: ours, a column for each of `others`, and who else a line names beside them.
pub fn render(lines: &[Line], others: &[&str]) -> String {
    let head = ["medians", OURS].into_iter().chain(others.iter().copied()).chain(["beside", "promise", "held"]);
    let mut rows: Vec<Vec<String>> = vec![head.map(str::to_owned).collect()];
    rows.extend(lines.iter().map(|line| {
        let cell = |who: &&str| line.figure(who).map_or(String::new(), Figure::to_string);
        let beside = line.figures.iter().filter(|figure| figure.who != OURS && !others.contains(&figure.who.as_str()));
        let beside: Vec<String> = beside.map(|figure| format!("{} {figure}", figure.who)).collect();
        let ours = line.figure(OURS).map_or(String::new(), Figure::with_spread);
        let mut row = vec![line.what.clone(), ours];
        row.extend(others.iter().map(cell));
        row.extend([beside.join(", "), line.promise.map_or(String::new(), |promise| promise.limit.to_string())]);
        row.push(verdict(line));
        row
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    rows.insert(1, widths.iter().map(|width| "-".repeat(*width)).collect());
    let mut text = String::new();
    for row in rows {
        for (cell, width) in row.iter().zip(&widths) {
            write!(text, "| {cell:width$} ").unwrap();
        }
        text.push_str("|\n");
    }
    if lines.iter().any(|line| line.promise.is_some_and(|promise| !promise.exact)) {
        text.push_str("\nIn brackets: the promise names another size or rate.\n");
    }
    text
}

fn verdict(line: &Line) -> String {
    let Some(promise) = line.promise else { return String::new() };
    let word = match line.median(OURS) {
        _ if promise.held => "yes".into(),
        Some(median) => format!("no, by {} %", short(promise.limit.missed_by(median) * 100.0)),
        None => "no".into(),
    };
    if promise.exact { word } else { format!("({word})") }
}

/// A number with as many digits as mean something.
fn short(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}
