//! One panel: recall against one measure.

use crate::plot::scale::{Axis, Tick, label};
use crate::plot::style::Style;
use crate::plot::svg::{Attributes, Px, Svg};
use crate::plot::{Point, Series};

/// What a panel shows of each point.
pub(crate) struct Measure {
    pub(crate) title: &'static str,
    pub(crate) better: &'static str,
    pub(crate) value: fn(&Point) -> Option<f64>,
}

/// The panels, from left to right.
pub(crate) const MEASURES: [Measure; 3] = [
    Measure { title: "Queries per second", better: "higher is better", value: |point| Some(point.qps) },
    Measure { title: "p99 latency, ms", better: "lower is better", value: |point| Some(point.p99_us / 1e3) },
    Measure {
        title: "KB read per query",
        better: "lower is better",
        value: |point| point.bytes_per_query.map(|bytes| bytes / 1e3),
    },
];

/// Colours of what is not data.
const INK: &str = "#222222";
pub(crate) const PALE_INK: &str = "#666666";
const GRID: &str = "#e3e3e3";
const FINE_GRID: &str = "#f3f3f3";
/// Pixels from an axis to its labels.
const GAP: f64 = 8.0;

/// Where a panel's data lie on the picture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl Area {
    fn right(&self) -> f64 {
        self.left + self.width
    }

    fn bottom(&self) -> f64 {
        self.top + self.height
    }
}

/// Draws a panel. The first series is drawn last, on top.
pub(crate) fn draw(
    svg: &mut Svg,
    area: Area,
    measure: &Measure,
    recall: &Axis,
    x_label: &str,
    all: &[Series],
) {
    let shown = |series: &Series| -> Vec<(f64, f64)> {
        let points = series.points.iter().filter(|point| recall.shows(point.recall));
        points.filter_map(|point| Some((point.recall, (measure.value)(point)?))).collect()
    };
    let shown: Vec<Vec<(f64, f64)>> = all.iter().map(shown).collect();
    let values: Vec<f64> = shown.iter().flatten().map(|&(_, value)| value).collect();
    svg.open("g", &[("class", &"panel")]);
    headings(svg, area, measure, x_label);
    vertical_grid(svg, area, recall);
    if let Some(axis) = Axis::log(&values) {
        horizontal_grid(svg, area, &axis);
        let place = |&(r, value): &(f64, f64)| {
            let x = area.left + recall.at(r) * area.width;
            (x, area.bottom() - axis.at(value) * area.height)
        };
        for (number, (series, pairs)) in all.iter().zip(&shown).enumerate().rev() {
            let places: Vec<(f64, f64)> = pairs.iter().map(place).collect();
            let tips: Vec<String> = pairs.iter().map(|pair| tip(series, measure, *pair)).collect();
            draw_series(svg, Style::of(number), &places, &tips);
        }
    } else {
        let (x, y) = (Px(area.left + area.width / 2.0), Px(area.top + area.height / 2.0));
        let middle: Attributes = &[("x", &x), ("y", &y), ("text-anchor", &"middle"), ("fill", &PALE_INK)];
        svg.words("text", middle, "not measured");
    }
    svg.close();
}

/// What a browser says when the mouse rests on a marker.
fn tip(series: &Series, measure: &Measure, (recall, value): (f64, f64)) -> String {
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    let value = if value < 1e3 { format!("{value:.digits$}") } else { label(value) };
    format!("{}: recall {recall:.4}, {}: {value}", series.name, measure.title)
}

fn headings(svg: &mut Svg, area: Area, measure: &Measure, x_label: &str) {
    let y = Px(area.top - 12.0);
    svg.words(
        "text",
        &[("x", &Px(area.left)), ("y", &y), ("font-size", &15), ("font-weight", &600), ("fill", &INK)],
        measure.title,
    );
    svg.words(
        "text",
        &[("x", &Px(area.right())), ("y", &y), ("text-anchor", &"end"), ("fill", &PALE_INK)],
        measure.better,
    );
    svg.words(
        "text",
        &[
            ("x", &Px(area.left + area.width / 2.0)),
            ("y", &Px(area.bottom() + 44.0)),
            ("text-anchor", &"middle"),
            ("fill", &INK),
        ],
        x_label,
    );
}

fn vertical_grid(svg: &mut Svg, area: Area, axis: &Axis) {
    for tick in &axis.ticks {
        let x = area.left + axis.at(tick.value) * area.width;
        line(svg, (x, area.top), (x, area.bottom()), grid(tick));
        svg.words(
            "text",
            &[
                ("x", &Px(x)),
                ("y", &Px(area.bottom() + GAP + 13.0)),
                ("text-anchor", &"middle"),
                ("fill", &INK),
            ],
            tick.label.as_deref().unwrap_or_default(),
        );
    }
    line(svg, (area.left, area.bottom()), (area.right(), area.bottom()), PALE_INK);
}

fn horizontal_grid(svg: &mut Svg, area: Area, axis: &Axis) {
    for tick in &axis.ticks {
        let y = area.bottom() - axis.at(tick.value) * area.height;
        line(svg, (area.left, y), (area.right(), y), grid(tick));
        if let Some(label) = &tick.label {
            svg.words(
                "text",
                &[("x", &Px(area.left - GAP)), ("y", &Px(y + 4.5)), ("text-anchor", &"end"), ("fill", &INK)],
                label,
            );
        }
    }
}

fn grid(tick: &Tick) -> &'static str {
    if tick.label.is_some() { GRID } else { FINE_GRID }
}

fn line(svg: &mut Svg, from: (f64, f64), to: (f64, f64), color: &str) {
    let path = format!("M{},{}L{},{}", Px(from.0), Px(from.1), Px(to.0), Px(to.1));
    svg.empty("path", &[("d", &path), ("stroke", &color), ("fill", &"none")]);
}

/// A line through all places and a marker on each.
fn draw_series(svg: &mut Svg, style: Style, places: &[(f64, f64)], tips: &[String]) {
    if places.is_empty() {
        return;
    }
    svg.open("g", &[("class", &"series")]);
    draw_line(svg, style, places);
    for (place, tip) in places.iter().zip(tips) {
        draw_marker(svg, style, *place, tip);
    }
    svg.close();
}

/// What stands before a name in the legend: a piece of line with a marker on it.
pub(crate) fn draw_sign(svg: &mut Svg, style: Style, (x, y): (f64, f64), width: f64, name: &str) {
    draw_line(svg, style, &[(x, y), (x + width, y)]);
    draw_marker(svg, style, (x + width / 2.0, y), name);
}

fn draw_line(svg: &mut Svg, style: Style, places: &[(f64, f64)]) {
    let points: Vec<String> = places.iter().map(|&(x, y)| format!("{},{}", Px(x), Px(y))).collect();
    svg.empty(
        "polyline",
        &[
            ("points", &points.join(" ")),
            ("fill", &"none"),
            ("stroke", &style.color),
            ("stroke-width", &style.width),
            ("stroke-dasharray", &style.dashes),
            ("stroke-linejoin", &"round"),
        ],
    );
}

fn draw_marker(svg: &mut Svg, style: Style, (x, y): (f64, f64), tip: &str) {
    let outline = style.marker(x, y);
    svg.open("path", &[("d", &outline), ("fill", &style.color), ("stroke", &"#ffffff")]);
    svg.words("title", &[], tip);
    svg.close();
}
