//! Lines over a grid, as SVG.

use std::fmt::Write;
use std::time::Duration;

use crate::report::human::time;

/// The picture's size, and what lies around its lines, in its own units.
const WIDTH: f64 = 920.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 30.0;
/// Lines of the grid, about.
const GRID_LINES: f64 = 5.0;

/// A picture of some series.
pub(super) struct Chart {
    /// Where the horizontal axis has a name.
    pub(super) marks: Vec<(f64, String)>,
    pub(super) scale: Scale,
    pub(super) series: Vec<Series>,
    /// Whether the vertical axis multiplies and does not add, so that small and large values are both seen.
    pub(super) is_logarithmic: bool,
}

/// What the values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Nanoseconds.
    Times,
    Counts,
}

/// A line.
pub(super) struct Series {
    pub(super) name: String,
    /// Its colour.
    pub(super) class: &'static str,
    /// From left to right.
    pub(super) points: Vec<(f64, f64)>,
}

impl Chart {
    pub(super) fn svg(&self) -> String {
        let all = || self.series.iter().flat_map(|series| &series.points);
        let (left, right) = bounds(all().map(|(x, _)| *x));
        let (mut low, mut high) = bounds(all().map(|(_, y)| *y));
        if self.is_logarithmic {
            (low, high) = (low.max(1.0).log10().floor(), high.max(10.0).log10().ceil());
            high = high.max(low + 1.0);
        } else {
            (low, high) = (0.0, if high > 0.0 { high * 1.08 } else { 1.0 });
        }
        let x = |value: f64| LEFT + (value - left) / (right - left).max(f64::MIN_POSITIVE) * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| {
            let value = if self.is_logarithmic { value.max(1.0).log10() } else { value };
            HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
        };
        let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
        let mut put = |what: std::fmt::Arguments<'_>| svg.write_fmt(what).expect("a string takes everything");
        for value in self.grid(low, high) {
            let at = y(value);
            put(format_args!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>",
                WIDTH - RIGHT
            ));
            let name = self.scale.name(value);
            put(format_args!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>", LEFT - 8.0, at + 4.0));
        }
        for (at, name) in self.marks.iter().filter(|(at, _)| (left..=right).contains(at)) {
            let at = x(*at);
            put(format_args!("<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>", HEIGHT - 8.0));
            put(format_args!(
                "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{}\"/>",
                HEIGHT - BOTTOM
            ));
        }
        for series in &self.series {
            let path = path(series.points.iter().map(|point| (x(point.0), y(point.1))));
            if let ([only], Some((first, last))) = (&*self.series, ends(&series.points)) {
                let floor = HEIGHT - BOTTOM;
                put(format_args!(
                    "<path class=\"area\" d=\"{path}L{:.1} {floor}L{:.1} {floor}Z\"/>",
                    x(last),
                    x(first)
                ));
                let _ = only;
            }
            put(format_args!("<path class=\"line {}\" d=\"{path}\"/>", series.class));
        }
        if self.series.len() > 1 {
            svg += &self.legend();
        }
        svg + "</svg>"
    }

    /// Where horizontal lines are drawn.
    fn grid(&self, low: f64, high: f64) -> Vec<f64> {
        if !self.is_logarithmic {
            return round_steps(high).collect();
        }
        let mut powers = Vec::new();
        let mut power = low;
        while power <= high {
            powers.push(10_f64.powf(power));
            power += 1.0;
        }
        powers
    }

    fn legend(&self) -> String {
        let mut text = String::new();
        let mut at = LEFT;
        for series in &self.series {
            let (class, name) = (series.class, &series.name);
            write!(
                text,
                "<line class=\"line {class}\" x1=\"{at}\" x2=\"{}\" y1=\"10\" y2=\"10\"/><text x=\"{}\" y=\"14\">{name}</text>",
                at + 18.0,
                at + 24.0
            )
            .expect("a string takes everything");
            at += 130.0;
        }
        text
    }
}

impl Scale {
    fn name(self, value: f64) -> String {
        match self {
            Self::Times => time(Duration::from_secs_f64(value / 1e9)),
            Self::Counts if value >= 1e6 => format!("{}M", value / 1e6),
            Self::Counts if value >= 1e4 => format!("{}k", value / 1e3),
            Self::Counts => format!("{value}"),
        }
    }
}

/// Numbers from zero to at most `high` whose steps are 1, 2 or 5 with zeros, some five of them.
pub(super) fn round_steps(high: f64) -> impl Iterator<Item = f64> {
    let rough = (high / GRID_LINES).max(1e-9);
    let power = 10_f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|step| *step >= rough).unwrap_or(rough);
    let round = move |number: u32| ((f64::from(number) * step) * 1e9).round() / 1e9;
    (0..100).map(round).take_while(move |value| *value <= high)
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

fn ends(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    Some((points.first()?.0, points.last()?.0))
}

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    points.enumerate().fold(String::new(), |mut path, (number, (x, y))| {
        let command = if number == 0 { 'M' } else { 'L' };
        write!(path, "{command}{x:.1} {y:.1}").expect("a string takes everything");
        path
    })
}
