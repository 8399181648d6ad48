use super::svg::tests::well_formed;
use super::*;

fn point(recall: f64, qps: f64) -> Point {
    Point { recall, qps, p99_us: 2e6 / qps, bytes_per_query: Some(4096.0 * 1e4 / qps) }
}

fn series(name: &str, points: &[Point]) -> Series {
    Series { name: name.into(), points: points.to_vec() }
}

fn draw(all: &[Series]) -> Result<String, String> {
    let caption = Caption { title: "T".into(), subtitle: "S <&>".into(), recall: "recall@10".into() };
    svg_of(&caption, all.to_vec())
}

/// Groups with markers in them: the markers' places by series, in the order drawn.
fn markers(svg: &str) -> Vec<usize> {
    let groups = svg.split("class=\"series\"").skip(1);
    groups.map(|group| group.split("</g>").next().unwrap().matches("<title>").count()).collect()
}

/// The places a series' line goes through, by group as drawn.
fn lines(svg: &str) -> Vec<Vec<(f64, f64)>> {
    let number = |text: &str| text.parse::<f64>().unwrap();
    let pair = |pair: &str| pair.split_once(',').map(|(x, y)| (number(x), number(y))).unwrap();
    let groups = svg.split("class=\"series\"").skip(1);
    groups.map(|group| group.split('"').nth(1).unwrap().split(' ').map(pair).collect()).collect()
}

#[test]
fn every_point_has_a_marker_in_every_panel() {
    let all = [
        series("a", &[point(0.9, 1000.0), point(0.95, 500.0), point(0.99, 100.0)]),
        series("b", &[point(0.97, 800.0)]),
        series("c", &[Point { bytes_per_query: None, ..point(0.92, 9e4) }, point(0.93, 8e4)]),
    ];
    let svg = draw(&all).unwrap();
    // the first is drawn last; a point without bytes is missing in the last panel
    assert_eq!(markers(&svg), [2, 1, 3, 2, 1, 3, 1, 1, 3]);
    let names = well_formed(&svg);
    let count = |name: &str| names.iter().filter(|&other| other == name).count();
    assert_eq!((count("svg"), count("polyline")), (1, 9 + 3));
    assert_eq!(svg.matches("class=\"panel\"").count(), 3);
    assert!(svg.contains("S &lt;&amp;&gt;") && svg.contains(">recall@10<"), "{svg}");
    assert!(!svg.contains("<script") && !svg.contains("href") && !svg.contains("NaN"), "{svg}");
}

#[test]
fn lines_go_through_their_points_in_order_of_recall() {
    let all = [series("a", &[point(0.99, 10.0), point(0.9, 1000.0), point(0.999, 1.0)])];
    let lines = lines(&draw(&all).unwrap());
    for line in &lines {
        let [(x0, _), (x1, _), (x2, _)] = line[..] else { panic!("{line:?}") };
        assert!(x0 < x1 && (x1 - x0 - (x2 - x1)).abs() < 0.3, "{line:?}");
    }
    // fewer queries a second lie lower, longer latencies and more bytes higher; two decades twice as far as one
    let [(_, y0), (_, y1), (_, y2)] = lines[0][..] else { panic!("{lines:?}") };
    assert!(y0 < y1 && y1 < y2 && (y1 - y0 - 2.0 * (y2 - y1)).abs() < 0.5, "{lines:?}");
    assert!(lines[1..].iter().all(|line| line[0].1 > line[2].1), "{lines:?}");
}

#[test]
fn one_point_is_a_picture_and_none_is_refused() {
    assert_eq!(markers(&draw(&[series("a", &[point(0.95, 100.0)])]).unwrap()), [1, 1, 1]);
    for nothing in [&[][..], &[series("a", &[])]] {
        let error = draw(nothing).unwrap_err();
        assert!(error.contains("found nothing") && error.contains("expected"), "{error}");
    }
}

#[test]
fn figures_that_have_no_place_are_refused() {
    let good = point(0.9, 1.0);
    for (bad, word) in [
        (Point { recall: f64::NAN, ..good.clone() }, "recall"),
        (Point { recall: 1.1, ..good.clone() }, "recall"),
        (Point { qps: f64::NAN, ..good.clone() }, "qps"),
        (Point { qps: f64::INFINITY, ..good.clone() }, "qps"),
        (Point { p99_us: 0.0, ..good.clone() }, "p99_us"),
        (Point { bytes_per_query: Some(-1.0), ..good.clone() }, "bytes_per_query"),
    ] {
        let error = draw(&[series("a", &[good.clone(), bad])]).unwrap_err();
        assert!(error.starts_with(&format!("a: {word}: found ")), "{error}");
    }
}

#[test]
fn what_is_not_shown_is_said() {
    let in_ram = |recall| Point { bytes_per_query: None, ..point(recall, 10.0) };
    let svg =
        draw(&[series("a", &[point(0.5, 10.0), point(0.9, 5.0)]), series("b&", &[in_ram(0.9)])]).unwrap();
    assert!(svg.contains("1 point below a recall of 0.75") && svg.contains("none read: b&amp;."), "{svg}");
    assert_eq!(markers(&svg), [1, 1, 1, 1, 1]);
    assert!(draw(&[series("b", &[in_ram(0.9)])]).unwrap().contains(">not measured<"));
    let low = draw(&[series("a", &[point(0.3, 1.0)])]).unwrap();
    assert!(!low.contains("Left out"), "{low}");
}

#[test]
fn a_long_legend_takes_more_lines() {
    let many: Vec<Series> = (0..30).map(|i| series(&format!("system {i}"), &[point(0.9, 10.0)])).collect();
    let places = legend_places(&many);
    assert!(places.iter().all(|&(x, _)| x < WIDTH - 100.0), "{places:?}");
    assert!(places.windows(2).all(|two| two[0].1 < two[1].1 || two[0].0 + 80.0 < two[1].0), "{places:?}");
    assert!(places[29].1 >= LINE);
    well_formed(&draw(&many).unwrap());
}

#[test]
fn the_name_of_the_file_says_svg() {
    assert!(check_extension(Path::new("a.svg")).is_ok() && check_extension(Path::new("b.SVG")).is_ok());
    for wrong in ["a", "a.png", "svg"] {
        assert!(check_extension(Path::new(wrong)).unwrap_err().to_string().contains(".svg"), "{wrong}");
    }
}
