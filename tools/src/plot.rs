//! The picture of `recall --plot`: recall against queries per second, latency and bytes read, as one SVG.

mod compare;
mod panel;
mod scale;
mod style;
mod svg;

use std::path::{Path, PathBuf};

use crate::exit;
use crate::output::Output;
use crate::plot::panel::{Area, MEASURES, PALE_INK};
use crate::plot::scale::{Axis, RECALL_MIN};
use crate::plot::style::Style;
use crate::plot::svg::{Px, Svg};

#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Draw the rows into this file: recall against QPS, p99 latency and bytes read
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Draw other systems too: JSON objects, a line each, with system, recall, qps, p99_us, bytes_per_query (or null)
    #[arg(long, value_name = "FILE", requires = "plot")]
    compare: Vec<PathBuf>,
    /// Name of what is measured, in the picture and in JSON
    #[arg(long, value_name = "NAME", default_value = "Nearline", value_parser = name)]
    pub(crate) label: String,
}

fn name(text: &str) -> Result<String, String> {
    let chars = text.trim().chars().count();
    if (1..=60).contains(&chars) { Ok(text.trim().into()) } else { Err("expected 1 to 60 characters".into()) }
}

/// One measurement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) recall: f64,
    pub(crate) qps: f64,
    pub(crate) p99_us: f64,
    /// None if nothing is read, or nobody counted.
    pub(crate) bytes_per_query: Option<f64>,
}

impl Point {
    /// Says which figure cannot be drawn.
    fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.recall) {
            return Err(format!("recall: found {}, expected a number from 0 to 1", self.recall));
        }
        let positive = [
            ("qps", Some(self.qps)),
            ("p99_us", Some(self.p99_us)),
            ("bytes_per_query", self.bytes_per_query),
        ];
        match positive.iter().find(|(_, value)| value.is_some_and(|v| !v.is_finite() || v <= 0.0)) {
            Some((field, value)) => {
                let value = value.unwrap_or_default();
                Err(format!("{field}: found {value}, expected a number above 0"))
            }
            None => Ok(()),
        }
    }
}

/// The measurements of one system.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<Point>,
}

/// What stands above the picture and below its panels.
pub(crate) struct Caption {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    /// What the recall is called.
    pub(crate) recall: String,
}

/// A picture to be drawn once everything is measured. Its file is there from the start, so that it fails early.
pub(crate) struct Picture {
    output: Output,
    path: PathBuf,
    label: String,
    compared: Vec<Series>,
}

impl Picture {
    /// None unless `--plot` is given.
    pub(crate) fn open(args: &Args) -> anyhow::Result<Option<Self>> {
        let Some(path) = &args.plot else { return Ok(None) };
        check_extension(path)?;
        let compared = compare::read(&args.compare, &args.label)?;
        let output = Output::create(path)?;
        Ok(Some(Self { output, path: path.clone(), label: args.label.clone(), compared }))
    }

    /// Draws what was measured, and what it is compared with.
    pub(crate) fn draw(mut self, caption: &Caption, points: Vec<Point>) -> anyhow::Result<()> {
        let mut all = vec![Series { name: self.label, points }];
        all.append(&mut self.compared);
        let svg = svg_of(caption, all)
            .map_err(|what| exit::bad_input(format!("{}: {what}", self.path.display())))?;
        self.output.write(svg.as_bytes())?;
        self.output.finish()
    }
}

fn check_extension(path: &Path) -> anyhow::Result<()> {
    match path.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("svg") => Ok(()),
        _ => Err(exit::usage(format!("{}: unknown extension, expected .svg", path.display()))),
    }
}

/// Pixels of the whole, of a panel with its labels, and of what lies around the panel's data.
const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 24.0;
const SLOT: f64 = (WIDTH - MARGIN) / MEASURES.len() as f64;
const LABELS: f64 = 46.0;
const PANEL_HEIGHT: f64 = 330.0;
const LINE: f64 = 24.0;
const LEGEND_TOP: f64 = 92.0;
const FONT: &str = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif";

/// Draws all series, or says which figure cannot be drawn.
fn svg_of(caption: &Caption, mut all: Vec<Series>) -> Result<String, String> {
    for series in &mut all {
        series.points.iter().try_for_each(Point::check).map_err(|what| format!("{}: {what}", series.name))?;
        series.points.sort_by(|a, b| a.recall.total_cmp(&b.recall));
    }
    let recalls: Vec<f64> = all.iter().flat_map(|series| &series.points).map(|point| point.recall).collect();
    let axis = Axis::recall(&recalls).ok_or("found nothing to draw, expected at least one row")?;
    let places = legend_places(&all);
    let top = LEGEND_TOP + places.last().map_or(0.0, |place| place.1) + 52.0;
    let notes = notes(&all, &axis);
    let height =
        top + PANEL_HEIGHT + 64.0 + LINE * notes.len() as f64 + if notes.is_empty() { 0.0 } else { 8.0 };
    let mut svg = Svg::default();
    begin(&mut svg, caption, height);
    legend(&mut svg, &all, &places);
    for (i, measure) in MEASURES.iter().enumerate() {
        let left = MARGIN + LABELS + i as f64 * SLOT;
        let area = Area { left, top, width: SLOT - MARGIN - LABELS, height: PANEL_HEIGHT };
        panel::draw(&mut svg, area, measure, &axis, &caption.recall, &all);
    }
    for (i, note) in notes.iter().enumerate() {
        let y = top + PANEL_HEIGHT + 78.0 + LINE * i as f64;
        svg.words("text", &[("x", &Px(MARGIN)), ("y", &Px(y)), ("fill", &PALE_INK)], note);
    }
    Ok(svg.finish())
}

fn begin(svg: &mut Svg, caption: &Caption, height: f64) {
    let view = format!("0 0 {WIDTH} {}", Px(height));
    svg.open(
        "svg",
        &[
            ("xmlns", &"http://www.w3.org/2000/svg"),
            ("viewBox", &view),
            ("width", &WIDTH),
            ("height", &Px(height)),
            ("role", &"img"),
            ("font-family", &FONT),
            ("font-size", &13),
        ],
    );
    svg.words("title", &[], &caption.title);
    svg.empty("rect", &[("width", &"100%"), ("height", &"100%"), ("fill", &"#ffffff")]);
    svg.words(
        "text",
        &[("x", &Px(MARGIN)), ("y", &38), ("font-size", &20), ("font-weight", &600)],
        &caption.title,
    );
    svg.words("text", &[("x", &Px(MARGIN)), ("y", &62), ("fill", &PALE_INK)], &caption.subtitle);
}

/// Where each name goes, in lines as long as the picture is wide; heights are from the legend's top.
fn legend_places(all: &[Series]) -> Vec<(f64, f64)> {
    const SIGN: f64 = 40.0;
    const CHAR: f64 = 7.2;
    let (mut x, mut y) = (MARGIN, 0.0);
    let place = |series: &Series| {
        let width = SIGN + CHAR * series.name.chars().count() as f64 + MARGIN;
        if x > MARGIN && x + width > WIDTH {
            (x, y) = (MARGIN, y + LINE);
        }
        x += width;
        (x - width, y)
    };
    all.iter().map(place).collect()
}

fn legend(svg: &mut Svg, all: &[Series], places: &[(f64, f64)]) {
    svg.open("g", &[("class", &"legend")]);
    for (number, (series, &(x, y))) in all.iter().zip(places).enumerate() {
        let (style, y) = (Style::of(number), LEGEND_TOP + y);
        panel::draw_sign(svg, style, (x, y), 30.0, &series.name);
        let weight = if number == 0 { 600 } else { 400 };
        svg.words(
            "text",
            &[("x", &Px(x + 37.0)), ("y", &Px(y + 4.5)), ("font-weight", &weight)],
            &series.name,
        );
    }
    svg.close();
}

/// What a reader would otherwise miss in the picture.
fn notes(all: &[Series], axis: &Axis) -> Vec<String> {
    let points = || all.iter().flat_map(|series| &series.points);
    let mut notes = Vec::new();
    let hidden = points().filter(|point| !axis.shows(point.recall)).count();
    if hidden > 0 {
        let points = if hidden == 1 { "point" } else { "points" };
        notes.push(format!("Left out: {hidden} {points} below a recall of {RECALL_MIN}."));
    }
    let unread = |series: &&Series| series.points.iter().all(|point| point.bytes_per_query.is_none());
    let names: Vec<&str> = all.iter().filter(unread).map(|series| &series.name[..]).collect();
    if !names.is_empty() {
        notes.push(format!("No bytes counted, or none read: {}.", names.join(", ")));
    }
    notes
}

#[cfg(test)]
mod tests;
