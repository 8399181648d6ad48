//! Checking formulas: every mistake that can be seen without a point.

use std::collections::HashMap;

use super::{Decay, DecayKind, Expression, Formula};
use crate::error::QueryError;
use crate::filter::{Checked, Filter, GeoPoint, parse_datetime};
use crate::path::FieldPath;
use crate::value::Value;

/// How deep expressions may stand inside of expressions.
pub const FORMULA_DEPTH_MAX: usize = 32;
/// Expressions of a formula at most.
pub const FORMULA_PARTS_MAX: usize = 1024;

/// A formula that was checked.
#[derive(Debug)]
pub(crate) struct CheckedFormula {
    pub(super) root: Part,
    pub(super) defaults: Defaults,
}

/// What stands in for what is missing.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    pub(super) scores: HashMap<usize, f64>,
    pub(super) fields: HashMap<FieldPath, Value>,
}

/// A checked expression.
#[derive(Debug)]
pub(super) enum Part {
    Constant(f64),
    Score(usize),
    Field(FieldPath),
    Condition(Checked),
    GeoDistance { origin: GeoPoint, to: FieldPath },
    DatetimeField(FieldPath),
    Product(Vec<Part>),
    Sum(Vec<Part>),
    Neg(Box<Part>),
    Abs(Box<Part>),
    Div { left: Box<Part>, right: Box<Part>, by_zero_default: Option<f64> },
    Sqrt(Box<Part>),
    Pow { base: Box<Part>, exponent: Box<Part> },
    Exp(Box<Part>),
    Log10(Box<Part>),
    Ln(Box<Part>),
    Decay { kind: DecayKind, x: Box<Part>, target: Option<Box<Part>>, scale: f64, midpoint: f64 },
}

type Result<T> = std::result::Result<T, QueryError>;

impl Formula {
    /// Checks the formula; `check_filter` checks conditions.
    pub(crate) fn check(&self, check_filter: &dyn Fn(&Filter) -> Result<Checked>) -> Result<CheckedFormula> {
        let mut checker = Checker { check_filter, parts: 0 };
        let root = checker.part(&self.expression, 1)?;
        let mut defaults = Defaults::default();
        for (name, value) in &self.defaults {
            match score_number(name)? {
                None => {
                    defaults.fields.insert(path(name)?, value.clone());
                }
                Some(number) => {
                    let expected = "a number, as it stands in for a score";
                    let score = value.as_number().ok_or_else(|| bad("default", value.kind(), expected))?;
                    defaults.scores.insert(number, score.as_f64());
                }
            }
        }
        Ok(CheckedFormula { root, defaults })
    }
}

/// What is counted on the way.
struct Checker<'a> {
    check_filter: &'a dyn Fn(&Filter) -> Result<Checked>,
    parts: usize,
}

impl Checker<'_> {
    fn part(&mut self, expression: &Expression, depth: usize) -> Result<Part> {
        self.parts += 1;
        if depth > FORMULA_DEPTH_MAX {
            let expected = format!("at most {FORMULA_DEPTH_MAX} levels");
            return Err(bad("formula", "expressions nested deeper", expected));
        }
        if self.parts > FORMULA_PARTS_MAX {
            return Err(bad("formula", "more expressions", format!("at most {FORMULA_PARTS_MAX}")));
        }
        Ok(match expression {
            Expression::Constant(number) => Part::Constant(finite("constant", *number)?),
            Expression::Score(number) => Part::Score(*number),
            Expression::Field(name) => match score_number(name)? {
                Some(number) => Part::Score(number),
                None => Part::Field(path(name)?),
            },
            Expression::Condition(condition) => {
                Part::Condition((self.check_filter)(&Filter::must([(**condition).clone()]))?)
            }
            Expression::GeoDistance { origin, to } => {
                if !origin.is_on_earth() {
                    let found = format!("latitude {}, longitude {}", origin.lat, origin.lon);
                    return Err(bad("origin of geo_distance", found, "a place on the earth, in degrees"));
                }
                Part::GeoDistance { origin: *origin, to: path(to)? }
            }
            Expression::Datetime(text) => match parse_datetime(text) {
                Some(micros) => Part::Constant(micros as f64 / 1e6),
                None => return Err(bad("datetime", format!("{text:?}"), "such as 2024-02-29T12:00:00Z")),
            },
            Expression::DatetimeField(name) => Part::DatetimeField(path(name)?),
            Expression::Product(parts) => Part::Product(self.parts(parts, depth)?),
            Expression::Sum(parts) => Part::Sum(self.parts(parts, depth)?),
            Expression::Neg(part) => Part::Neg(self.inner(part, depth)?),
            Expression::Abs(part) => Part::Abs(self.inner(part, depth)?),
            Expression::Div { left, right, by_zero_default } => Part::Div {
                left: self.inner(left, depth)?,
                right: self.inner(right, depth)?,
                by_zero_default: by_zero_default.map(|value| finite("by_zero_default", value)).transpose()?,
            },
            Expression::Sqrt(part) => Part::Sqrt(self.inner(part, depth)?),
            Expression::Pow { base, exponent } => {
                Part::Pow { base: self.inner(base, depth)?, exponent: self.inner(exponent, depth)? }
            }
            Expression::Exp(part) => Part::Exp(self.inner(part, depth)?),
            Expression::Log10(part) => Part::Log10(self.inner(part, depth)?),
            Expression::Ln(part) => Part::Ln(self.inner(part, depth)?),
            Expression::Decay(decay) => self.decay(decay, depth)?,
        })
    }

    fn inner(&mut self, expression: &Expression, depth: usize) -> Result<Box<Part>> {
        self.part(expression, depth + 1).map(Box::new)
    }

    fn parts(&mut self, expressions: &[Expression], depth: usize) -> Result<Vec<Part>> {
        expressions.iter().map(|expression| self.part(expression, depth + 1)).collect()
    }

    fn decay(&mut self, decay: &Decay, depth: usize) -> Result<Part> {
        let Decay { kind, scale, midpoint, .. } = *decay;
        if !(scale > 0.0 && scale.is_finite()) {
            return Err(bad("scale of a decay", scale, "a finite number above 0"));
        }
        if !(midpoint > 0.0 && midpoint < 1.0) {
            return Err(bad("midpoint of a decay", midpoint, "above 0 and below 1"));
        }
        let x = self.inner(&decay.x, depth)?;
        let target = decay.target.as_ref().map(|target| self.inner(target, depth)).transpose()?;
        Ok(Part::Decay { kind, x, target, scale, midpoint })
    }
}

fn bad(what: &'static str, found: impl std::fmt::Display, expected: impl Into<String>) -> QueryError {
    QueryError::bad(what, found, expected)
}

fn finite(what: &'static str, number: f64) -> Result<f64> {
    if number.is_finite() { Ok(number) } else { Err(bad(what, number, "a finite number")) }
}

fn path(name: &str) -> Result<FieldPath> {
    let expected = "a path such as price or rooms[].beds, or $score[0]";
    name.parse().map_err(|error: crate::path::PathError| bad("variable of a formula", error, expected))
}

/// The number of the prefetch whose score is meant: `$score` is that of the first, `$score[2]` that of the third.
fn score_number(name: &str) -> Result<Option<usize>> {
    let Some(rest) = name.strip_prefix("$score") else { return Ok(None) };
    if rest.is_empty() {
        return Ok(Some(0));
    }
    let number = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match number.and_then(|number| number.parse().ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(bad("variable of a formula", format!("{name:?}"), "$score, or $score[0] and so on")),
    }
}
