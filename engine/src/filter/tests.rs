//! What matches, as tables: a condition, a payload, the answer.

use super::*;
use crate::value::tests::payload;
use crate::{Payload, Value};

const UUID: &str = "f47ac10b-58cc-4372-a567-0e02b2c3d479";

/// Asks about a point with the id 7 and a vector called `image`.
fn matches(filter: &Filter, payload: &Payload) -> bool {
    let checked = filter.check().unwrap_or_else(|error| panic!("{error}: {filter:?}"));
    checked.matches(PointId::from(7), payload, |name| name == "image")
}

/// Holds a filter against a payload as JSON.
fn check(filter: &Filter, document: &str, expected: bool) {
    assert_eq!(matches(filter, &payload(document)), expected, "{filter:?} of {document}");
}

/// Holds a condition against what `f` is in a payload, which may be `missing`.
fn table(condition: Condition, answers: &[(&str, bool)]) {
    let filter = Filter::must([condition]);
    for (value, expected) in answers {
        let document = if *value == "missing" { "{}".to_owned() } else { format!("{{\"f\": {value}}}") };
        check(&filter, &document, *expected);
    }
}

const YES: bool = true;
const NO: bool = false;

/// What no condition on a value matches, whatever its type.
const NOTHING: [(&str, bool); 5] = [("missing", NO), ("null", NO), ("[]", NO), ("[null]", NO), ("{}", NO)];

#[test]
fn keywords() {
    let berlin = Condition::matches("f", "Berlin");
    table(berlin.clone(), &NOTHING);
    table(
        berlin,
        &[
            (r#""Berlin""#, YES),
            (r#""berlin""#, NO),
            (r#""""#, NO),
            (r#"["Bonn", "Berlin"]"#, YES),
            (r#"[["Berlin"]]"#, NO),
            (r#"{"f": "Berlin"}"#, NO),
            ("1", NO),
            ("true", NO),
        ],
    );
    table(Condition::matches("f", "1"), &[("1", NO), (r#""1""#, YES)]);
}

#[test]
fn integers_and_bools() {
    table(Condition::matches("f", 3), &NOTHING);
    table(
        Condition::matches("f", 3),
        &[("3", YES), ("3.0", NO), ("-3", NO), (r#""3""#, NO), ("[1, 3]", YES), ("[[3]]", NO), ("true", NO)],
    );
    table(
        Condition::matches("f", u64::MAX),
        &[("18446744073709551615", YES), ("18446744073709551615.0", NO)],
    );
    table(Condition::matches("f", true), &NOTHING);
    table(Condition::matches("f", true), &[("true", YES), ("false", NO), ("[false, true]", YES), ("1", NO)]);
}

#[test]
fn any_of_several() {
    let any = Condition::matches_any("f", ["a", "b"]);
    table(any.clone(), &NOTHING);
    table(any, &[(r#""a""#, YES), (r#""c""#, NO), (r#"["c", "b"]"#, YES), ("1", NO)]);
    let mixed: [MatchValue; 3] = ["a".into(), 1.into(), true.into()];
    table(
        Condition::matches_any("f", mixed),
        &[(r#""a""#, YES), ("1", YES), ("1.0", NO), ("true", YES), ("false", NO)],
    );
    table(Condition::matches_any("f", Vec::<&str>::new()), &[(r#""a""#, NO), ("missing", NO)]);
}

#[test]
fn all_but_several() {
    let except = Condition::matches_except("f", ["a", "b"]);
    table(
        except,
        &[
            ("missing", NO),
            ("null", NO),
            ("[]", NO),
            ("[null]", NO),
            ("{}", YES),
            (r#""a""#, NO),
            (r#""c""#, YES),
            (r#"["a", "b"]"#, NO),
            (r#"["a", "c"]"#, YES),
            (r#"["a", null]"#, NO),
            (r#"[["a"]]"#, YES),
            ("1", YES),
            ("false", YES),
        ],
    );
    table(Condition::matches_except("f", [1]), &[("1", NO), ("1.0", YES), ("2", YES), (r#""1""#, YES)]);
    table(Condition::matches_except("f", Vec::<i64>::new()), &[("1", YES), ("null", NO), ("missing", NO)]);
}

#[test]
fn beginnings() {
    table(Condition::matches_prefix("f", "ab"), &NOTHING);
    table(
        Condition::matches_prefix("f", "ab"),
        &[(r#""ab""#, YES), (r#""abc""#, YES), (r#""a""#, NO), ("1", NO)],
    );
    table(Condition::matches_prefix("f", ""), &[(r#""""#, YES), (r#"["x"]"#, YES), ("1", NO), ("[]", NO)]);
}

#[test]
fn texts() {
    let all = Condition::matches_text("f", "Fox, quick!");
    table(all.clone(), &NOTHING);
    table(
        all,
        &[
            (r#""The quick brown fox""#, YES),
            (r#""a quick foxtrot""#, NO),
            (r#"["quick", "fox"]"#, NO),
            (r#"["x", "QUICK FOX"]"#, YES),
            (r#"[["quick fox"]]"#, NO),
            ("1", NO),
        ],
    );
    let any = Condition::matches_text_any("f", "fox dog");
    table(any.clone(), &NOTHING);
    table(any, &[(r#""a dog""#, YES), (r#""a cat""#, NO), (r#"["cat", "fox"]"#, YES)]);
    let phrase = Condition::matches_phrase("f", "brown fox");
    table(phrase.clone(), &NOTHING);
    table(
        phrase,
        &[
            (r#""quick BROWN, fox""#, YES),
            (r#""fox brown""#, NO),
            (r#""brown quick fox""#, NO),
            (r#"["brown", "fox"]"#, NO),
            (r#""brown fo brown fox""#, YES),
        ],
    );
    for empty in [Condition::matches_text, Condition::matches_text_any, Condition::matches_phrase] {
        table(empty("f".to_owned(), " - ".to_owned()), &[(r#""a""#, NO), (r#"" - ""#, NO), ("missing", NO)]);
    }
}

#[test]
fn texts_are_taken_apart_as_their_index_says() {
    let prefixes =
        TextOptions { tokenizer: Tokenizer::Prefix, min_token_len: Some(2), ..TextOptions::default() };
    let text = Filter::must([
        Condition::nested("l", Filter::must([Condition::matches_text("t", "qui")])),
        Condition::matches_text("t", "qui"),
    ]);
    let checked = |field: &'static str| {
        let options = move |path: &crate::FieldPath| {
            if path.to_string() == field { prefixes } else { TextOptions::default() }
        };
        text.check_with(options).unwrap()
    };
    let holds =
        |field, document: &str| checked(field).matches(PointId::from(1), &payload(document), |_| false);
    assert!(holds("l[].t", r#"{"l": [{"t": "quick"}], "t": "qui"}"#));
    assert!(!holds("t", r#"{"l": [{"t": "quick"}], "t": "qui"}"#));
    assert!(holds("t", r#"{"l": [{"t": "qui"}], "t": "quick"}"#));
}

#[test]
fn ranges_of_numbers() {
    let range = Condition::range("f").gte(3).lt(7.5);
    table(range.clone(), &NOTHING);
    table(
        range,
        &[
            ("3", YES),
            ("2.999", NO),
            ("7", YES),
            ("7.5", NO),
            ("[1, 9]", NO),
            ("[1, 5]", YES),
            ("[[5]]", NO),
            (r#""5""#, NO),
            ("true", NO),
        ],
    );
    table(Condition::range("f").gt(3).lte(7), &[("3", NO), ("3.1", YES), ("7.0", YES), ("7.1", NO)]);
    table(Condition::range("f").gt(3).gte(5), &[("4", NO), ("5", YES)]);
    table(Condition::range("f").gt(5).gte(5), &[("5", NO), ("6", YES)]);
    table(Condition::range("f").lt(3).lte(5), &[("4", NO), ("2", YES)]);
    table(Condition::range("f").gt(5).lt(3), &[("4", NO), ("6", NO)]);
    table(Condition::range("f"), &[("4", YES), ("-1e300", YES), (r#""a""#, NO), ("missing", NO)]);
    table(Condition::range("f").lt(f64::INFINITY), &[("1e308", YES), ("18446744073709551615", YES)]);
    let large = Condition::range("f").gt(9_007_199_254_740_992_i64);
    table(large, &[("9007199254740993", YES), ("9007199254740992", NO), ("9007199254740992.0", NO)]);
}

#[test]
fn ranges_of_moments() {
    let range = Condition::range("f").gte("2024-01-01").lt("2024-01-01T02:00:00+01:00");
    table(range.clone(), &NOTHING);
    table(
        range,
        &[
            (r#""2024-01-01""#, YES),
            (r#""2024-01-01 00:59:59.999""#, YES),
            (r#""2024-01-01T01:00:00Z""#, NO),
            (r#""2023-12-31T23:00:00-02""#, NO),
            (r#""2023-12-31T23:00:00-01""#, YES),
            (r#"["x", "2024-01-01T00:30"]"#, YES),
            (r#""x""#, NO),
            ("1704067200", NO),
        ],
    );
}

const fn at(lat: f64, lon: f64) -> GeoPoint {
    GeoPoint { lat, lon }
}

#[test]
fn boxes() {
    let inner = Condition::geo_box("f", at(10.0, -10.0), at(-10.0, 10.0));
    table(inner.clone(), &NOTHING);
    table(
        inner,
        &[
            (r#"{"lat": 0, "lon": 0.5}"#, YES),
            (r#"{"lat": 10, "lon": -10}"#, YES),
            (r#"{"lat": 10.1, "lon": 0}"#, NO),
            (r#"{"lat": 0, "lon": 179}"#, NO),
            (r#"{"lat": 0}"#, NO),
            (r#"{"lat": "0", "lon": "0"}"#, NO),
            (r#"{"lat": 0, "lon": 360}"#, NO),
            (r#"[{"lat": 50, "lon": 0}, {"lat": 1, "lon": 1, "name": "x"}]"#, YES),
            (r#"[0, 0]"#, NO),
        ],
    );
    table(
        Condition::geo_box("f", at(10.0, 170.0), at(-10.0, -170.0)),
        &[
            (r#"{"lat": 0, "lon": 175}"#, YES),
            (r#"{"lat": 0, "lon": -180}"#, YES),
            (r#"{"lat": 0, "lon": -170}"#, YES),
            (r#"{"lat": 0, "lon": 0}"#, NO),
            (r#"{"lat": 11, "lon": 175}"#, NO),
        ],
    );
}

#[test]
fn radii_and_polygons() {
    // Berlin and Potsdam are some 27 km apart, Hamburg is 255 km away.
    let near = |meters| Condition::geo_radius("f", at(52.52, 13.405), meters);
    let (potsdam, hamburg) = (r#"{"lat": 52.39, "lon": 13.06}"#, r#"{"lat": 53.55, "lon": 10.0}"#);
    table(near(30_000.0), &NOTHING);
    table(near(30_000.0), &[(potsdam, YES), (hamburg, NO)]);
    table(near(300_000.0), &[(potsdam, YES), (hamburg, YES)]);
    table(near(0.0), &[(r#"{"lat": 52.52, "lon": 13.405}"#, YES), (potsdam, NO)]);
    table(Condition::geo_radius("f", at(0.0, 180.0), 200_000.0), &[(r#"{"lat": 0, "lon": -179}"#, YES)]);

    let ring = |half: f64| {
        vec![at(-half, -half), at(-half, half), at(half, half), at(half, -half), at(-half, -half)]
    };
    let with_hole = Condition::geo_polygon("f", ring(10.0), [ring(5.0)]);
    table(with_hole.clone(), &NOTHING);
    table(
        with_hole,
        &[
            (r#"{"lat": 7, "lon": 0}"#, YES),
            (r#"{"lat": 0, "lon": 0}"#, NO),
            (r#"{"lat": 5, "lon": 0}"#, YES),
            (r#"{"lat": 10, "lon": 10}"#, YES),
            (r#"{"lat": 11, "lon": 0}"#, NO),
        ],
    );
    let triangle = [at(0.0, 0.0), at(0.0, 10.0), at(10.0, 0.0), at(0.0, 0.0)];
    let triangle = Condition::geo_polygon("f", triangle, []);
    table(triangle, &[(r#"{"lat": 4, "lon": 4}"#, YES), (r#"{"lat": 6, "lon": 6}"#, NO)]);
}

#[test]
fn counts_of_values() {
    table(
        Condition::values_count("f").gte(2),
        &[
            ("missing", NO),
            ("null", NO),
            ("1", NO),
            ("[1]", NO),
            ("[1, 2]", YES),
            ("[null, null]", YES),
            ("{}", NO),
        ],
    );
    table(
        Condition::values_count("f").lt(1),
        &[("missing", YES), ("null", YES), ("[]", YES), ("1", NO), ("{}", NO)],
    );
    table(Condition::values_count("f").gte(1).lte(1), &[("{}", YES), ("[[1, 2]]", YES), ("\"x\"", YES)]);
    let of_elements = Filter::must([Condition::values_count("l[].f").gt(1)]);
    check(&of_elements, r#"{"l": [{"f": 1}, {"f": 2}]}"#, NO);
    check(&of_elements, r#"{"l": [{"f": 1}, {"f": [2, 3]}]}"#, YES);
}

#[test]
fn empty_and_null() {
    table(
        Condition::is_empty("f"),
        &[("missing", YES), ("null", YES), ("[]", YES), ("[null]", NO), ("{}", NO), ("\"\"", NO), ("0", NO)],
    );
    table(
        Condition::is_null("f"),
        &[("missing", NO), ("null", YES), ("[]", NO), ("[1, null]", YES), ("[[null]]", NO), ("0", NO)],
    );
    let of_elements = Filter::must([Condition::is_empty("l[].f")]);
    check(&of_elements, r#"{"l": [{"f": 1}, {"f": null}]}"#, NO);
    check(&of_elements, r#"{"l": [{"g": 1}, {"f": null}]}"#, YES);
}

#[test]
fn ids_and_vectors() {
    check(&Filter::must([Condition::has_id([3, 7_u64])]), "{}", YES);
    check(&Filter::must([Condition::has_id([3_u64])]), "{}", NO);
    check(&Filter::must([Condition::has_id([UUID.parse::<PointId>().unwrap()])]), "{}", NO);
    check(&Filter::must([Condition::has_id(Vec::<u64>::new())]), "{}", NO);
    check(&Filter::must([Condition::has_vector("image")]), "{}", YES);
    check(&Filter::must([Condition::has_vector("text")]), "{}", NO);
}

#[test]
fn nested_conditions_hold_for_one_element() {
    let both = Filter::must([Condition::matches("a", 1), Condition::matches("b", 2)]);
    for key in ["l", "l[]"] {
        let nested = Filter::must([Condition::nested(key, both.clone())]);
        check(&nested, r#"{"l": [{"a": 1, "b": 2}]}"#, YES);
        check(&nested, r#"{"l": [{"a": 1}, {"b": 2}]}"#, NO);
        check(&nested, r#"{"l": [3, null, [{"a": 1, "b": 2}]]}"#, NO);
        check(&nested, r#"{"l": {"a": 1, "b": 2}}"#, NO);
        check(&nested, r#"{"l": []}"#, NO);
        check(&nested, "{}", NO);
    }
    let without = Filter::must([Condition::nested("l", Filter::must_not([Condition::matches("a", 1)]))]);
    check(&without, r#"{"l": [{"a": 1}]}"#, NO);
    check(&without, r#"{"l": [{"a": 1}, {}]}"#, YES);
    check(&without, r#"{"l": [1]}"#, NO);
    let twice = Filter::must([Condition::nested("l", Filter::must([Condition::nested("m", both)]))]);
    check(&twice, r#"{"l": [{"m": [{"a": 1}]}, {"m": [{"a": 1, "b": 2}]}]}"#, YES);
    check(&twice, r#"{"l": [{"m": [{"a": 1}, {"b": 2}]}]}"#, NO);
}

#[test]
fn filters_combine() {
    let is = |key: &str| Condition::matches(key, true);
    let document = r#"{"a": true, "b": true, "c": false}"#;
    for (filter, expected) in [
        (Filter::new(), YES),
        (Filter::must([is("a"), is("b")]), YES),
        (Filter::must([is("a"), is("c")]), NO),
        (Filter::should([is("c"), is("b")]), YES),
        (Filter::should([is("c"), is("d")]), NO),
        (Filter::must_not([is("c"), is("d")]), YES),
        (Filter::must_not([is("c"), is("a")]), NO),
        (Filter::must([is("a")]).and_should([is("c")]), NO),
        (Filter::must([is("a")]).and_must_not([is("b")]), NO),
        (Filter::min_should(2, [is("a"), is("b"), is("c")]), YES),
        (Filter::min_should(2, [is("a"), is("c"), is("d")]), NO),
        (Filter::min_should(3, [is("a"), is("b")]), NO),
        (Filter::min_should(1, []), NO),
        (Filter::must([Filter::should([is("c"), is("b")]).into()]), YES),
        (Filter::must_not([Filter::must([is("a"), is("c")]).into()]), YES),
        (Filter::must([Filter::new().into()]), YES),
    ] {
        check(&filter, document, expected);
    }
}

/// Errors, as users read them.
#[test]
fn mistakes_are_named() {
    let square = [at(0.0, 0.0), at(0.0, 1.0), at(1.0, 1.0), at(1.0, 0.0)];
    let float = FieldTest::Match(MatchValue::Integer(Number::from(1.5)));
    for (condition, expected) in [
        (
            Condition::matches("a..b", 1),
            "the key of a condition `matches`: \"a..b\", at byte 2: `.`; expected a key",
        ),
        (Condition::range("p").gt(f64::NAN), "range of p: gt is NaN; expected a number"),
        (Condition::range("p").gte(1).lt("2024-01-01"), "range of p: gte is 1; expected a moment like"),
        (Condition::range("p").lte("soon"), "range of p: lte is \"soon\"; expected a moment"),
        (Condition::values_count("p").lt(-1), "values_count of p: lt is -1; expected a count"),
        (Condition::values_count("p").lt(1.5), "values_count of p: lt is 1.5; expected a count"),
        (Condition::values_count("p").lt("1"), "values_count of p: lt is \"1\"; expected a count"),
        (Condition::matches("p", 1).gte(2), "matches: gte belongs on a range or values_count"),
        (Condition::has_vector("v").gt(2).lt(3), "has_vector: lt belongs on a range"),
        (
            Condition::Field { key: "p".into(), test: float },
            "matches of p: 1.5; expected a keyword, an integer",
        ),
        (
            Condition::geo_box("p", at(1.0, 0.0), at(91.0, 0.0)),
            "geo_box of p: a point at latitude 91, longitude 0;",
        ),
        (
            Condition::geo_box("p", at(1.0, 0.0), at(2.0, 1.0)),
            "geo_box of p: the top at latitude 1 lies below",
        ),
        (Condition::geo_radius("p", at(f64::NAN, 0.0), 1.0), "geo_radius of p: a point at latitude NaN"),
        (Condition::geo_radius("p", at(0.0, 0.0), -1.0), "geo_radius of p: a radius of -1 m"),
        (Condition::geo_radius("p", at(0.0, 0.0), f64::INFINITY), "geo_radius of p: a radius of inf m"),
        (Condition::geo_polygon("p", square, []), "geo_polygon of p: the exterior is open"),
        (
            Condition::geo_polygon("p", [], []),
            "geo_polygon of p: the exterior has 0 points; expected 4 points",
        ),
        (
            Condition::geo_polygon("p", vec![at(0.0, 0.0); 4], [vec![at(0.0, 0.0); 3]]),
            "geo_polygon of p: interior 0 has 3 points",
        ),
        (
            Condition::geo_polygon("p", vec![at(0.0, 0.0); POLYGON_CORNERS_MAX], [vec![at(0.0, 0.0)]]),
            "geo_polygon of p: 65537 corners",
        ),
        (
            Condition::nested("l", Filter::must([Condition::has_id([1_u64])])),
            "has_id in nested of l[]: elements",
        ),
        (Filter::min_should(0, []).into(), "min_should: min_count is 0"),
        (
            Condition::matches_any("p", 0..=FILTER_VALUES_MAX),
            "a filter has 1048577 values, ids and words up to",
        ),
    ] {
        let error = Filter::must([condition]).check().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
}

#[test]
fn filters_are_bounded() {
    let deep = |levels: usize| {
        (1..levels).fold(Filter::new(), |inner, level| match level % 2 {
            0 => Filter::must([inner.into()]),
            _ => Filter::should([Condition::nested("a", inner)]),
        })
    };
    assert!(deep(FILTER_DEPTH_MAX).check().is_ok());
    assert_eq!(deep(FILTER_DEPTH_MAX + 1).check(), Err(FilterError::TooDeep { limit: 16 }));
    let wide = |conditions| Filter::must(vec![Condition::is_null("a"); conditions]);
    assert!(wide(FILTER_CONDITIONS_MAX).check().is_ok());
    let error = FilterError::TooManyConditions { limit: 4096 };
    assert_eq!(wide(FILTER_CONDITIONS_MAX + 1).check(), Err(error));
}

#[test]
fn a_checked_filter_can_be_asked_often() {
    let checked = Filter::must([Condition::range("n").lt(3)]).check().unwrap();
    let documents = (0..5).map(|n| Payload::new().with("n", Value::from(n)));
    let found = documents.filter(|payload| checked.matches(PointId::from(1), payload, |_| false));
    assert_eq!(found.count(), 3);
}
