//! Formulas: scores computed from the scores of prefetches and from payloads.

mod check;
mod evaluate;

use std::collections::BTreeMap;

pub use check::{FORMULA_DEPTH_MAX, FORMULA_PARTS_MAX};
pub(crate) use evaluate::Point;

use crate::filter::{Condition, GeoPoint};
use crate::value::Value;

/// An expression, and what stands in for values that a point lacks.
///
/// ```
/// use nearline::{Condition, Expression, Formula, Query};
///
/// // The similarity, a tenth more for what is new, and half of it where a price of 100 is reached.
/// let formula = Formula::new(Expression::product([
///     Expression::sum([
///         Expression::score(0),
///         Expression::product([0.1.into(), Condition::matches("tags", "new").into()]),
///     ]),
///     Expression::exp_decay(Expression::field("price")).scale(100.0).into(),
/// ]))
/// .default("price", 50);
/// let query = Query::formula(formula).prefetch(Query::nearest([0.1, 0.2]).k(100));
/// # let _ = query;
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Formula {
    expression: Expression,
    defaults: BTreeMap<String, Value>,
}

/// A part of a formula. All of them are computed in f64, and the end is rounded to f32.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Expression {
    /// A number.
    Constant(f64),
    /// The score that a prefetch gave, prefetches counted from 0; where it did not find the point, the default of `$score[N]`,
    /// or 0.
    Score(usize),
    /// The number at a path of the payload, or its default. An array of one number is that number.
    Field(String),
    /// 1 if the point is such, 0 if not.
    Condition(Box<Condition>),
    /// Meters to the place at a path.
    GeoDistance {
        /// From where.
        origin: GeoPoint,
        /// The path.
        to: String,
    },
    /// A moment, in seconds since 1970.
    Datetime(String),
    /// The moment at a path, in seconds since 1970.
    DatetimeField(String),
    /// The product. From the first 0 on, parts are not looked at.
    Product(Vec<Expression>),
    /// The sum.
    Sum(Vec<Expression>),
    /// With its sign turned.
    Neg(Box<Expression>),
    /// Without its sign.
    Abs(Box<Expression>),
    /// The quotient; 0 if the upper part is 0.
    Div {
        /// What is divided.
        left: Box<Expression>,
        /// By what.
        right: Box<Expression>,
        /// What a division by 0 gives.
        by_zero_default: Option<f64>,
    },
    /// The square root.
    Sqrt(Box<Expression>),
    /// The power.
    Pow {
        /// Of what.
        base: Box<Expression>,
        /// To what.
        exponent: Box<Expression>,
    },
    /// The exponential.
    Exp(Box<Expression>),
    /// The decimal logarithm.
    Log10(Box<Expression>),
    /// The natural logarithm.
    Ln(Box<Expression>),
    /// What falls with the distance from a target.
    Decay(Decay),
}

/// What is 1 at a target and falls with the distance from it.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Decay {
    kind: DecayKind,
    x: Box<Expression>,
    target: Option<Box<Expression>>,
    scale: f64,
    midpoint: f64,
}

/// How it falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DecayKind {
    Linear,
    Exponential,
    Gauss,
}

impl Formula {
    /// A formula without defaults.
    pub fn new(expression: impl Into<Expression>) -> Self {
        Self { expression: expression.into(), defaults: BTreeMap::new() }
    }

    /// What stands in for a path that a point lacks, or, under the names `$score` and `$score[N]`, for the score of a prefetch
    /// that did not find it.
    pub fn default(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.defaults.insert(name.into(), value.into());
        self
    }
}

impl Expression {
    /// The score that a prefetch gave.
    pub fn score(prefetch: usize) -> Self {
        Self::Score(prefetch)
    }

    /// The number at a path of the payload.
    pub fn field(path: impl Into<String>) -> Self {
        Self::Field(path.into())
    }

    /// Meters to the place at a path.
    pub fn geo_distance(origin: GeoPoint, to: impl Into<String>) -> Self {
        Self::GeoDistance { origin, to: to.into() }
    }

    /// A moment, as a string of RFC 3339.
    pub fn datetime(moment: impl Into<String>) -> Self {
        Self::Datetime(moment.into())
    }

    /// The moment at a path.
    pub fn datetime_field(path: impl Into<String>) -> Self {
        Self::DatetimeField(path.into())
    }

    /// The product of some.
    pub fn product(parts: impl IntoIterator<Item = Self>) -> Self {
        Self::Product(parts.into_iter().collect())
    }

    /// The sum of some.
    pub fn sum(parts: impl IntoIterator<Item = Self>) -> Self {
        Self::Sum(parts.into_iter().collect())
    }

    /// A quotient; a division by 0 is an error unless there is a default.
    pub fn div(left: impl Into<Self>, right: impl Into<Self>, by_zero_default: Option<f64>) -> Self {
        Self::Div { left: Box::new(left.into()), right: Box::new(right.into()), by_zero_default }
    }

    /// A power.
    pub fn pow(base: impl Into<Self>, exponent: impl Into<Self>) -> Self {
        Self::Pow { base: Box::new(base.into()), exponent: Box::new(exponent.into()) }
    }

    /// In a straight line down to 0.
    pub fn lin_decay(x: impl Into<Self>) -> Decay {
        Decay::new(DecayKind::Linear, x.into())
    }

    /// By the same factor in every step.
    pub fn exp_decay(x: impl Into<Self>) -> Decay {
        Decay::new(DecayKind::Exponential, x.into())
    }

    /// As a bell.
    pub fn gauss_decay(x: impl Into<Self>) -> Decay {
        Decay::new(DecayKind::Gauss, x.into())
    }
}

impl Decay {
    fn new(kind: DecayKind, x: Expression) -> Self {
        Self { kind, x: Box::new(x), target: None, scale: 1.0, midpoint: 0.5 }
    }

    /// Where it is 1; at 0 unless told otherwise.
    pub fn target(mut self, target: impl Into<Expression>) -> Self {
        self.target = Some(Box::new(target.into()));
        self
    }

    /// How far from the target it has fallen to the midpoint; 1 unless told otherwise.
    pub fn scale(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    /// What it is there, above 0 and below 1; 0.5 unless told otherwise.
    pub fn midpoint(mut self, midpoint: f64) -> Self {
        self.midpoint = midpoint;
        self
    }
}

impl From<Expression> for Formula {
    fn from(expression: Expression) -> Self {
        Self::new(expression)
    }
}

impl From<Decay> for Expression {
    fn from(decay: Decay) -> Self {
        Self::Decay(decay)
    }
}

impl From<Condition> for Expression {
    fn from(condition: Condition) -> Self {
        Self::Condition(Box::new(condition))
    }
}

impl From<f64> for Expression {
    fn from(number: f64) -> Self {
        Self::Constant(number)
    }
}
