//! Plots as SVG: lines over an axis whose steps double, with the ink of the page, so that they can be read by day and by night.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
/// Room for the axes and their words.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 70.0;
const BOTTOM: f64 = 55.0;
/// Lines across.
const STEPS: u32 = 5;
/// Colours that people who see few can tell apart (Okabe and Ito).
const COLOURS: [&str; 5] = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00"];

/// A line.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Lines in one frame.
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) across: String,
    pub(super) up: String,
    pub(super) series: Vec<Series>,
}

impl Plot {
    /// The file.
    pub(super) fn svg(&self) -> String {
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <style>text{{fill:#333}}.axis{{stroke:#999}}.line{{fill:none;stroke-width:2}}\
             @media (prefers-color-scheme:dark){{text{{fill:#ccc}}}}</style>\n"
        );
        let points = || self.series.iter().flat_map(|series| &series.points);
        let (low, high) =
            points().fold((f64::MAX, 1.0_f64), |(low, high), point| (low.min(point.0), high.max(point.0)));
        let top = nice(points().map(|point| point.1).fold(0.0, f64::max));
        let x = |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * (value / low).log2() / (high / low).log2().max(1.0);
        let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top;
        put(&mut text, format_args!("<text x=\"{LEFT}\" y=\"20\" font-size=\"15\">{}</text>", escaped(&self.title)));
        for step in 0..=STEPS {
            let value = top * f64::from(step) / f64::from(STEPS);
            let at = y(value);
            put(
                &mut text,
                format_args!(
                    "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{at:.1}\" y2=\"{at:.1}\" opacity=\"0.4\"/>",
                    WIDTH - RIGHT
                ),
            );
            put(
                &mut text,
                format_args!(
                    "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                    LEFT - 8.0,
                    at + 4.0,
                    shown(value)
                ),
            );
        }
        ticks(&mut text, points().map(|point| point.0).collect(), x);
        let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
        put(
            &mut text,
            format_args!(
                "<text x=\"{middle:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
                HEIGHT - 12.0,
                escaped(&self.across)
            ),
        );
        put(&mut text, format_args!("<text x=\"{LEFT}\" y=\"{:.0}\">{}</text>", TOP - 10.0, escaped(&self.up)));
        for (place, series) in self.series.iter().enumerate() {
            draw(&mut text, place, series, x, y);
        }
        text.push_str("</svg>\n");
        text
    }
}

/// Names the values across.
fn ticks(text: &mut String, mut values: Vec<f64>, x: impl Fn(f64) -> f64) {
    values.sort_by(f64::total_cmp);
    values.dedup();
    for value in values {
        let (across, down) = (x(value), HEIGHT - BOTTOM + 18.0);
        put(text, format_args!("<text x=\"{across:.1}\" y=\"{down:.0}\" text-anchor=\"middle\">{value}</text>"));
    }
}

fn draw(text: &mut String, place: usize, series: &Series, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) {
    let colour = COLOURS[place % COLOURS.len()];
    let at: Vec<(f64, f64)> = series.points.iter().map(|&(across, up)| (x(across), y(up))).collect();
    let line: Vec<String> = at.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    put(text, format_args!("<polyline class=\"line\" stroke=\"{colour}\" points=\"{}\"/>", line.join(" ")));
    for (x, y) in at {
        put(text, format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"));
    }
    let left = LEFT + 230.0 * (place % 3) as f64;
    let top = if place < 3 { 34.0 } else { 50.0 };
    put(text, format_args!("<rect x=\"{left}\" y=\"{top}\" width=\"14\" height=\"4\" fill=\"{colour}\"/>"));
    put(text, format_args!("<text x=\"{:.0}\" y=\"{:.0}\">{}</text>", left + 20.0, top + 6.0, escaped(&series.name)));
}

/// The next round number.
fn nice(value: f64) -> f64 {
    let power = 10.0_f64.powf(value.max(1e-9).log10().floor());
    let rounds = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    rounds.into_iter().map(|round| round * power).find(|&round| round >= value).unwrap_or(10.0 * power)
}

fn shown(value: f64) -> String {
    if value >= 10.0 || value == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::{Plot, Series, nice};

    #[test]
    fn a_plot_has_its_lines_within_its_frame() {
        let series = Series { name: "a < b".to_owned(), points: vec![(1.0, 0.0), (8.0, 90.0)] };
        let plot = Plot { title: "t".to_owned(), across: "x".to_owned(), up: "y".to_owned(), series: vec![series] };
        let svg = plot.svg();
        assert!(svg.contains("points=\"70.0,345.0 740.0,97.5\""), "{svg}");
        assert!(svg.contains("a &lt; b") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn axes_end_at_round_numbers() {
        let of = [0.9, 1.0, 1.1, 47.0, 830.0].map(nice);
        let expected = [1.0, 1.0, 1.5, 50.0, 1000.0];
        assert!(of.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-9), "{of:?}");
    }
}
