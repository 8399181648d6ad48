use proptest::prelude::*;

use super::*;
use crate::filter::{Checked, Condition, Filter};
use crate::formula::{Decay, Expression, Formula};

const SCORES: [Option<f32>; 3] = [Some(0.75), None, Some(-2.0)];

fn payload() -> Payload {
    Payload::new()
        .with("price", 20)
        .with("one", [4])
        .with("many", [1, 2])
        .with("text", "x")
        .with("at", Value::from(Payload::new().with("lat", 52.52).with("lon", 13.405)))
        .with("when", "1970-01-02T00:00:00.5Z")
        .with("in", Value::from(Payload::new().with("n", 3)))
}

fn check(filter: &Filter) -> Result<Checked> {
    Ok(filter.check()?)
}

fn score(formula: impl Into<Formula>) -> std::result::Result<f32, String> {
    let payload = payload();
    let point = Point { id: 7.into(), payload: &payload, has_vector: &|name| name == "v", scores: &SCORES };
    let checked = formula.into().check(&check).map_err(|error| error.to_string())?;
    checked.score(&point).map_err(|error| error.to_string())
}

fn field(path: &str) -> Expression {
    Expression::field(path)
}

fn boxed(number: f64) -> Box<Expression> {
    Box::new(number.into())
}

#[test]
fn parts_are_worth_what_they_should_be() {
    let london = GeoPoint { lat: 51.5074, lon: -0.1278 };
    let cases: Vec<(Expression, f64)> = vec![
        (2.5.into(), 2.5),
        (Expression::score(0), 0.75),
        (field("$score"), 0.75),
        (field("$score[2]"), -2.0),
        (Expression::score(1), 0.0),
        (Expression::score(99), 0.0),
        (field("price"), 20.0),
        (field("one"), 4.0),
        (field("in.n"), 3.0),
        (Condition::matches("price", 20).into(), 1.0),
        (Condition::matches("price", 21).into(), 0.0),
        (Condition::has_id([7]).into(), 1.0),
        (Condition::has_vector("w").into(), 0.0),
        (Expression::product([field("price"), 0.5.into()]), 10.0),
        (Expression::product([]), 1.0),
        // What comes behind a zero is not looked at.
        (Expression::product([0.0.into(), field("nothing")]), 0.0),
        (Expression::sum([field("price"), field("one"), (-1.0).into()]), 23.0),
        (Expression::sum([]), 0.0),
        (Expression::Neg(boxed(3.0)), -3.0),
        (Expression::Abs(boxed(-3.0)), 3.0),
        (Expression::div(3.0, 4.0, None), 0.75),
        (Expression::div(0.0, 0.0, None), 0.0),
        (Expression::div(3.0, 0.0, Some(9.0)), 9.0),
        (Expression::Sqrt(boxed(16.0)), 4.0),
        (Expression::pow(-2.0, 3.0), -8.0),
        (Expression::Exp(boxed(1.0)), std::f64::consts::E),
        (Expression::Log10(boxed(1000.0)), 3.0),
        (Expression::Ln(boxed(std::f64::consts::E)), 1.0),
        (Expression::datetime("1970-01-01T00:01:00Z"), 60.0),
        (Expression::datetime_field("when"), 86_400.5),
        (Expression::geo_distance(london, "at"), 931_566.0),
        (Expression::lin_decay(field("price")).target(25.0).scale(10.0).into(), 0.75),
        (Expression::lin_decay(100.0).into(), 0.0),
        (Expression::exp_decay(field("price")).target(field("one")).scale(8.0).into(), 0.25),
        (Expression::gauss_decay(2.0).into(), 0.0625),
        (Expression::gauss_decay(-3.0).scale(3.0).midpoint(0.9).into(), 0.9),
    ];
    for (expression, right) in cases {
        let found = f64::from(score(expression.clone()).unwrap());
        assert!((found - right).abs() <= 1e-5 * right.abs().max(1.0), "{expression:?}: {found}, not {right}");
    }
}

#[test]
fn defaults_stand_in_for_what_is_missing() {
    let of = |expression: Expression| {
        Formula::new(expression)
            .default("gone", 5)
            .default("list", [6])
            .default("$score[1]", 0.5)
            .default("$score", 9)
            .default("place", Value::from(Payload::new().with("lat", 1).with("lon", 2)))
            .default("day", "1970-01-02")
            .default("price", 1)
    };
    let here = GeoPoint { lat: 1.0, lon: 2.0 };
    for (expression, right) in [
        (field("gone"), 5.0),
        (field("list"), 6.0),
        (Expression::score(1), 0.5),
        (Expression::score(0), 0.75),
        (field("price"), 20.0),
        (Expression::geo_distance(here, "place"), 0.0),
        (Expression::datetime_field("day"), 86_400.0),
    ] {
        assert_eq!(score(of(expression.clone())), Ok(right), "{expression:?}");
    }
}

#[test]
fn what_has_no_value_is_refused() {
    let nowhere = GeoPoint { lat: 91.0, lon: 0.0 };
    let deep = (0..40).fold(Expression::from(1.0), |inner, _| Expression::Neg(Box::new(inner)));
    let cases: Vec<(Formula, &str)> = vec![
        (field("nothing").into(), "no value of point 7 at nothing"),
        (field("text").into(), "a string at text of point 7; expected a number"),
        (field("many").into(), "a single value"),
        (field("at").into(), "an object at at"),
        (Expression::geo_distance(GeoPoint { lat: 0.0, lon: 0.0 }, "price").into(), "a place"),
        (Expression::geo_distance(nowhere, "at").into(), "a place on the earth"),
        (Expression::datetime("yesterday").into(), "\"yesterday\"; expected such as"),
        (Expression::datetime_field("text").into(), "a moment"),
        (Expression::div(1.0, 0.0, None).into(), "1 / 0 is no finite number"),
        (Expression::Sqrt(boxed(-1.0)).into(), "sqrt(-1)"),
        (Expression::Ln(boxed(0.0)).into(), "ln(0)"),
        (Expression::Log10(boxed(-1.0)).into(), "log10(-1)"),
        (Expression::Exp(boxed(1e9)).into(), "exp("),
        (Expression::pow(-2.0, 0.5).into(), "-2^0.5"),
        (Expression::pow(0.0, -1.0).into(), "0^-1"),
        (Expression::from(1e300).into(), "the formula"),
        (Expression::from(f64::NAN).into(), "a finite number"),
        (field("$score[x]").into(), "expected $score"),
        (field("$scores").into(), "expected $score"),
        (field("a[").into(), "a path such as"),
        (Formula::new(1.0).default("$score", "x"), "default: a string"),
        (Formula::new(Condition::matches("a[", 1)), "never closed"),
        (Expression::from(Expression::lin_decay(1.0).scale(0.0)).into(), "scale of a decay: 0"),
        (Expression::from(Expression::lin_decay(1.0).midpoint(1.0)).into(), "midpoint of a decay: 1"),
        (deep.into(), "nested deeper"),
        (Expression::sum(vec![1.0.into(); 2000]).into(), "more expressions"),
    ];
    for (formula, part) in cases {
        let error = score(formula.clone()).unwrap_err();
        assert!(error.contains(part), "{formula:?}: {error}");
    }
}

/// Formulas by chance, each with its value as plain arithmetic; `None` where there is none.
fn any_expression() -> impl Strategy<Value = (Expression, Option<f64>)> {
    let leaf = prop_oneof![
        (-20..20_i32).prop_map(|n| (Expression::from(f64::from(n) / 4.0), Some(f64::from(n) / 4.0))),
        Just((Expression::score(0), Some(0.75))),
        Just((field("price"), Some(20.0))),
        Just((field("nothing"), None)),
        Just((Expression::from(Condition::matches("price", 20)), Some(1.0))),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let boxed = |e: &Expression| Box::new(e.clone());
        let known = |x: Option<f64>| x.filter(|x| x.is_finite());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|parts| {
                let sum = parts.iter().try_fold(0.0, |sum, (_, value)| Some(sum + (*value)?));
                (Expression::sum(parts.into_iter().map(|(part, _)| part)), sum)
            }),
            prop::collection::vec(inner.clone(), 0..3).prop_map(|parts| {
                let before_zero = parts.iter().position(|(_, value)| *value == Some(0.0));
                let product = match before_zero {
                    Some(at) => parts[..at].iter().all(|(_, value)| value.is_some()).then_some(0.0),
                    None => parts.iter().try_fold(1.0, |product, (_, value)| Some(product * (*value)?)),
                };
                (Expression::product(parts.into_iter().map(|(part, _)| part)), product)
            }),
            (inner.clone(), inner.clone(), prop::option::of(-2.0..2.0_f64)).prop_map(
                move |((a, x), (b, y), zero)| {
                    let value = match (x, y) {
                        (Some(0.0), _) => Some(0.0),
                        (Some(_), Some(0.0)) => zero,
                        (Some(x), Some(y)) => known(Some(x / y)),
                        _ => None,
                    };
                    (Expression::div(a, b, zero), value)
                }
            ),
            (inner.clone(), inner.clone()).prop_map(move |((a, x), (b, y))| {
                (Expression::pow(a, b), known(x.zip(y).map(|(x, y)| x.powf(y))))
            }),
            (inner.clone(), 0..6_u8).prop_map(move |((e, x), which)| match which {
                0 => (Expression::Neg(boxed(&e)), x.map(|x| -x)),
                1 => (Expression::Abs(boxed(&e)), x.map(f64::abs)),
                2 => (Expression::Sqrt(boxed(&e)), known(x.map(f64::sqrt))),
                3 => (Expression::Exp(boxed(&e)), known(x.map(f64::exp))),
                4 => (Expression::Ln(boxed(&e)), known(x.map(f64::ln))),
                _ => (Expression::Log10(boxed(&e)), known(x.map(f64::log10))),
            }),
            (inner.clone(), inner, 1..40_u8, 1..9_u8, 0..3_u8).prop_map(
                |((e, x), (t, y), scale, midpoint, kind)| {
                    let (scale, midpoint) = (f64::from(scale) / 2.0, f64::from(midpoint) / 10.0);
                    let decay: fn(Expression) -> Decay = [
                        |e| Expression::lin_decay(e),
                        |e| Expression::exp_decay(e),
                        |e| Expression::gauss_decay(e),
                    ][usize::from(kind)];
                    let value = x.zip(y).map(|(x, y)| match kind {
                        0 => (1.0 - (1.0 - midpoint) / scale * (x - y).abs()).max(0.0),
                        1 => (midpoint.ln() / scale * (x - y).abs()).exp(),
                        _ => (midpoint.ln() / (scale * scale) * (x - y) * (x - y)).exp(),
                    });
                    (decay(e).target(t).scale(scale).midpoint(midpoint).into(), value)
                }
            ),
        ]
    })
}

proptest! {
    #[test]
    fn it_is_the_arithmetic_that_is_written_down((expression, right) in any_expression()) {
        let right = right.filter(|right| (*right as f32).is_finite());
        match (score(expression.clone()), right) {
            (Ok(found), Some(right)) => {
                let (found, slack) = (f64::from(found), 1e-5 * right.abs().max(1.0));
                prop_assert!((found - right).abs() <= slack, "{expression:?}: {found}, not {right}");
            }
            (Err(_), None) => {}
            (found, right) => prop_assert!(false, "{expression:?}: {found:?}, not {right:?}"),
        }
    }
}
