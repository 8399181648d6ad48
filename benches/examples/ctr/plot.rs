//! A picture of AUC against bytes, of what a run has printed.

use std::fmt::Write;

use anyhow::Result;

use crate::printed::{Method, Printed};

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 620.0;
/// Where the panel is, and where names are.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 740.0;
const TOP: f64 = 70.0;
const BOTTOM: f64 = 560.0;
const LINE: f64 = 17.0;
/// Of the way from what plain rows reach down to chance, so much is shown.
const SHOWN: f64 = 0.3;
const COLORS: [&str; 9] =
    ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2", "#7f7f7f"];
/// Figures of a method that is drawn: fewer are no line.
const LEAST: usize = 3;
const DASHES: [&str; 3] = ["none", "7 3", "2 3"];

/// Draws the figures of a run.
pub(crate) fn svg(printed: &Printed) -> Result<String> {
    let Printed { title, plain, methods } = printed;
    let plain = (plain.bytes, plain.auc);
    let best = methods.iter().flat_map(|method| &method.figures).flatten().map(|one| one.auc);
    let (low, high) = (plain.1 - (plain.1 - 0.5) * SHOWN, best.fold(plain.1, f64::max) + 0.004);
    let (least, most) = ((plain.0 / 140.0).log2(), (plain.0 * 1.1).log2());
    let x = |bytes: f64| LEFT + (bytes.log2() - least) / (most - least) * (RIGHT - LEFT);
    let y = |auc: f64| BOTTOM - (auc - low) / (high - low) * (BOTTOM - TOP);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<title>AUC against bytes</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"30\" font-size=\"17\" font-weight=\"600\">AUC on test rows against bytes of the table</text>\n\
         <text x=\"{LEFT}\" y=\"50\" fill=\"#555\">{title}; dashed line: plain f32</text>\n\
         <clipPath id=\"panel\"><rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{}\" height=\"{}\"/></clipPath>\n",
        RIGHT - LEFT,
        BOTTOM - TOP
    );
    for ratio in [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0] {
        let at = x(plain.0 / ratio);
        let label = format!("{} ({ratio}x)", bytes(plain.0 / ratio));
        writeln!(out, "<path d=\"M{at:.1} {TOP}V{BOTTOM}\" stroke=\"#eee\"/>")?;
        writeln!(out, "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>", BOTTOM + 18.0)?;
    }
    for step in (low * 50.0).ceil() as i32..=(high * 50.0) as i32 {
        let (auc, at) = (f64::from(step) / 50.0, y(f64::from(step) / 50.0));
        writeln!(out, "<path d=\"M{LEFT} {at:.1}H{RIGHT}\" stroke=\"#eee\"/>")?;
        writeln!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{auc:.2}</text>",
            LEFT - 8.0,
            at + 4.0
        )?;
    }
    let at = y(plain.1);
    writeln!(out, "<path d=\"M{LEFT} {at:.1}H{RIGHT}\" stroke=\"#222\" stroke-dasharray=\"9 5\"/>")?;
    let drawn = methods.iter().filter(|method| method.figures.iter().flatten().count() >= LEAST);
    for (number, method) in drawn.enumerate() {
        draw(&mut out, number, method, &x, &y)?;
    }
    out.push_str("</svg>\n");
    Ok(out)
}

/// A line through its points, cut off at the panel, and its name beside that.
fn draw(
    out: &mut String,
    number: usize,
    method: &Method,
    x: &impl Fn(f64) -> f64,
    y: &impl Fn(f64) -> f64,
) -> Result<()> {
    let (color, dash) = (COLORS[number % COLORS.len()], DASHES[number / COLORS.len() % DASHES.len()]);
    let style = format!("stroke=\"{color}\" stroke-width=\"1.6\" stroke-dasharray=\"{dash}\" fill=\"none\"");
    let figures = method.figures.iter().flatten();
    let points: Vec<String> =
        figures.clone().map(|one| format!("{:.1},{:.1}", x(one.bytes), y(one.auc))).collect();
    writeln!(out, "<g clip-path=\"url(#panel)\"><title>{}</title>", method.name)?;
    writeln!(out, "<polyline points=\"{}\" {style}/>", points.join(" "))?;
    for one in figures {
        let (x, y) = (x(one.bytes), y(one.auc));
        writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\" fill=\"{color}\"/>")?;
    }
    let (at, left) = (TOP + 6.0 + LINE * number as f64, RIGHT + 20.0);
    writeln!(out, "</g>\n<path d=\"M{left} {at}h30\" {style}/>")?;
    writeln!(out, "<text x=\"{}\" y=\"{}\">{}</text>", left + 38.0, at + 4.0, method.name)?;
    Ok(())
}

fn bytes(count: f64) -> String {
    if count < 10_000.0 { format!("{:.1} kB", count / 1000.0) } else { format!("{:.0} kB", count / 1000.0) }
}
