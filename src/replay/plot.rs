//! Curves as inline SVG, with nothing but shapes and text.

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 28.0;
const TOP: f64 = 12.0;
/// Told apart by people who see no red or green (Okabe and Ito, 2008).
const COLOURS: [&str; 5] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#555555"];

/// One curve: its name and its points, in rising x.
pub(super) struct Curve<'c> {
    pub(super) name: &'c str,
    pub(super) points: Vec<(f64, f64)>,
}

/// Curves over a common x axis; `line` is a height to mark.
pub(super) fn plot(title: &str, unit: &str, curves: &[Curve<'_>], line: Option<f64>) -> String {
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let x_max = all().map(|point| point.0).fold(0.0, f64::max).max(1e-9);
    let y_max = all().map(|point| point.1).chain(line).fold(0.0, f64::max).max(1e-9) * 1.05;
    let x = |value: f64| LEFT + value / x_max * (WIDTH - LEFT - 8.0);
    let y = |value: f64| TOP + (1.0 - value / y_max) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!("<figure><figcaption>{}</figcaption>", escaped(title));
    let _ = write!(svg, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">", escaped(title));
    for part in 0..=4 {
        let value = y_max / 1.05 * f64::from(part) / 4.0;
        let (at, end) = (y(value), WIDTH - 8.0);
        let _ = write!(svg, "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{end}\" y2=\"{at:.1}\" class=\"grid\"/>");
        let _ = write!(svg, "<text x=\"{}\" y=\"{:.1}\" class=\"y\">{}</text>", LEFT - 6.0, at + 4.0, short(value));
        let hour = x_max * f64::from(part) / 4.0;
        let _ = write!(svg, "<text x=\"{:.1}\" y=\"{}\" class=\"x\">{} h</text>", x(hour), HEIGHT - 8.0, short(hour));
    }
    if let Some(line) = line {
        let (at, end) = (y(line), WIDTH - 8.0);
        let _ = write!(svg, "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{end}\" y2=\"{at:.1}\" class=\"mark\"/>");
    }
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let points = curve.points.iter().map(|(a, b)| format!("{:.1},{:.1}", x(*a), y(*b)));
        let points: Vec<String> = points.collect();
        let _ = write!(svg, "<polyline points=\"{}\" stroke=\"{colour}\" class=\"curve\"/>", points.join(" "));
    }
    let _ = write!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\" class=\"unit\">{}</text></svg><p class=\"legend\">",
        TOP - 2.0,
        escaped(unit)
    );
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let _ = write!(svg, "<span style=\"color:{colour}\">&#9632; {}</span> ", escaped(curve.name));
    }
    svg + "</p></figure>"
}

fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.1}M", v / 1e6),
        v if v >= 1e4 => format!("{:.0}k", v / 1e3),
        v if v >= 10.0 || v == 0.0 => format!("{v:.0}"),
        v => format!("{v:.2}"),
    }
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
