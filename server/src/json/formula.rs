//! Formulas: from the dialect's expressions to the library's.

use std::collections::BTreeMap;
use std::fmt;

use nearline::{Decay, Expression, Formula, GeoPoint, Value};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::filter::{ConditionIn, PlaceIn};
use super::shape::shaped;
use crate::error::ApiError;

/// An expression, and what stands in for what is missing.
#[derive(Debug)]
pub(crate) struct FormulaIn {
    pub(crate) expression: ExpressionIn,
    pub(crate) defaults: BTreeMap<String, Value>,
}

impl FormulaIn {
    /// The formula of the library. It is checked when it is used.
    pub(crate) fn read(self) -> Result<Formula, ApiError> {
        let formula = Formula::new(self.expression.read()?);
        Ok(self.defaults.into_iter().fold(formula, |formula, (name, value)| formula.default(name, value)))
    }
}

/// A number, a variable, or an object whose one member says what it is.
#[derive(Debug)]
pub(crate) enum ExpressionIn {
    Number(f64),
    Variable(String),
    Object(Box<ObjectIn>),
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct ObjectIn {
    geo_distance: Option<GeoDistanceIn>,
    datetime: Option<String>,
    datetime_key: Option<String>,
    mult: Option<Vec<ExpressionIn>>,
    sum: Option<Vec<ExpressionIn>>,
    neg: Option<ExpressionIn>,
    abs: Option<ExpressionIn>,
    div: Option<DivIn>,
    sqrt: Option<ExpressionIn>,
    pow: Option<PowIn>,
    exp: Option<ExpressionIn>,
    log10: Option<ExpressionIn>,
    ln: Option<ExpressionIn>,
    lin_decay: Option<DecayIn>,
    exp_decay: Option<DecayIn>,
    gauss_decay: Option<DecayIn>,
    /// What is none of these is a condition.
    #[serde(flatten)]
    condition: ConditionIn,
}

/// What makes an expression of another one, or of what falls with it.
type OfOne = fn(Box<Expression>) -> Expression;
type OfDecay = fn(Expression) -> Decay;

#[derive(Debug, Deserialize, JsonSchema)]
struct GeoDistanceIn {
    origin: PlaceIn,
    to: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct DivIn {
    left: ExpressionIn,
    right: ExpressionIn,
    by_zero_default: Option<f64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct PowIn {
    base: ExpressionIn,
    exponent: ExpressionIn,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct DecayIn {
    x: ExpressionIn,
    target: Option<ExpressionIn>,
    scale: Option<f64>,
    midpoint: Option<f64>,
}

impl<'de> Deserialize<'de> for ExpressionIn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExpressionReader)
    }
}

/// A number, a variable or an object.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its shape is asked for")]
enum ExpressionShape {
    Number(f64),
    Variable(String),
    Object(Box<ObjectIn>),
}

shaped!(ExpressionIn, "Expression", ExpressionShape);

struct ExpressionReader;

impl<'de> Visitor<'de> for ExpressionReader {
    type Value = ExpressionIn;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a variable such as $score, or an object such as {\"sum\": [1, \"price\"]}")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<ExpressionIn, E> {
        Ok(ExpressionIn::Number(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<ExpressionIn, E> {
        Ok(ExpressionIn::Number(number as f64))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<ExpressionIn, E> {
        Ok(ExpressionIn::Number(number as f64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ExpressionIn, E> {
        Ok(ExpressionIn::Variable(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ExpressionIn, A::Error> {
        ObjectIn::deserialize(MapAccessDeserializer::new(map))
            .map(|object| ExpressionIn::Object(Box::new(object)))
    }
}

impl ExpressionIn {
    fn read(self) -> Result<Expression, ApiError> {
        match self {
            Self::Number(number) => Ok(number.into()),
            Self::Variable(name) => Ok(Expression::field(name)),
            Self::Object(object) => object.read(),
        }
    }
}

impl ObjectIn {
    fn read(self) -> Result<Expression, ApiError> {
        let all =
            |parts: Vec<ExpressionIn>| parts.into_iter().map(ExpressionIn::read).collect::<Result<_, _>>();
        if let Some(GeoDistanceIn { origin, to }) = self.geo_distance {
            let origin: GeoPoint = origin.read();
            return Ok(Expression::geo_distance(origin, to));
        }
        if let Some(moment) = self.datetime {
            return Ok(Expression::datetime(moment));
        }
        if let Some(path) = self.datetime_key {
            return Ok(Expression::datetime_field(path));
        }
        if let Some(parts) = self.mult {
            return Ok(Expression::Product(all(parts)?));
        }
        if let Some(parts) = self.sum {
            return Ok(Expression::Sum(all(parts)?));
        }
        if let Some(DivIn { left, right, by_zero_default }) = self.div {
            return Ok(Expression::div(left.read()?, right.read()?, by_zero_default));
        }
        if let Some(PowIn { base, exponent }) = self.pow {
            return Ok(Expression::pow(base.read()?, exponent.read()?));
        }
        let functions: [(_, OfOne); 6] = [
            (self.neg, Expression::Neg),
            (self.abs, Expression::Abs),
            (self.sqrt, Expression::Sqrt),
            (self.exp, Expression::Exp),
            (self.log10, Expression::Log10),
            (self.ln, Expression::Ln),
        ];
        for (part, function) in functions {
            if let Some(part) = part {
                return Ok(function(Box::new(part.read()?)));
            }
        }
        let decays: [(_, OfDecay); 3] = [
            (self.lin_decay, |x| Expression::lin_decay(x)),
            (self.exp_decay, |x| Expression::exp_decay(x)),
            (self.gauss_decay, |x| Expression::gauss_decay(x)),
        ];
        for (decay, function) in decays {
            if let Some(decay) = decay {
                return decay.read(function);
            }
        }
        self.condition.read().map(Into::into)
    }
}

impl DecayIn {
    fn read(self, function: OfDecay) -> Result<Expression, ApiError> {
        let mut decay = function(self.x.read()?);
        if let Some(target) = self.target {
            decay = decay.target(target.read()?);
        }
        if let Some(scale) = self.scale {
            decay = decay.scale(scale);
        }
        if let Some(midpoint) = self.midpoint {
            decay = decay.midpoint(midpoint);
        }
        Ok(decay.into())
    }
}

#[cfg(test)]
mod tests {
    use nearline::Condition;

    use super::*;

    fn read(text: &str) -> Result<Expression, String> {
        let expression: ExpressionIn = serde_json::from_str(text).map_err(|error| error.to_string())?;
        expression.read().map_err(|error| error.to_string())
    }

    #[test]
    fn expressions_become_those_of_the_library() {
        let x = || Expression::field("x");
        for (text, right) in [
            ("1.5", 1.5.into()),
            ("-2", (-2.0).into()),
            (r#""x""#, x()),
            (r#"{"key":"a","match":{"value":1}}"#, Condition::matches("a", 1).into()),
            (
                r#"{"must":[{"has_id":[1]}]}"#,
                Condition::from(nearline::Filter::must([Condition::has_id([1])])).into(),
            ),
            (
                r#"{"geo_distance":{"origin":{"lon":2,"lat":1},"to":"at"}}"#,
                Expression::geo_distance(GeoPoint { lat: 1.0, lon: 2.0 }, "at"),
            ),
            (r#"{"datetime":"2024-01-01"}"#, Expression::datetime("2024-01-01")),
            (r#"{"datetime_key":"x"}"#, Expression::datetime_field("x")),
            (
                r#"{"mult":["x",{"sum":[1,"x"]}]}"#,
                Expression::product([x(), Expression::sum([1.0.into(), x()])]),
            ),
            (r#"{"neg":"x"}"#, Expression::Neg(Box::new(x()))),
            (r#"{"abs":"x"}"#, Expression::Abs(Box::new(x()))),
            (r#"{"sqrt":"x"}"#, Expression::Sqrt(Box::new(x()))),
            (r#"{"exp":"x"}"#, Expression::Exp(Box::new(x()))),
            (r#"{"log10":"x"}"#, Expression::Log10(Box::new(x()))),
            (r#"{"ln":"x"}"#, Expression::Ln(Box::new(x()))),
            (r#"{"div":{"left":"x","right":2}}"#, Expression::div(x(), 2.0, None)),
            (r#"{"div":{"left":"x","right":2,"by_zero_default":3}}"#, Expression::div(x(), 2.0, Some(3.0))),
            (r#"{"pow":{"base":"x","exponent":2}}"#, Expression::pow(x(), 2.0)),
            (r#"{"lin_decay":{"x":"x"}}"#, Expression::lin_decay(x()).into()),
            (
                r#"{"gauss_decay":{"x":"x","target":4,"scale":5,"midpoint":0.25}}"#,
                Expression::gauss_decay(x()).target(4.0).scale(5.0).midpoint(0.25).into(),
            ),
            (r#"{"exp_decay":{"x":"x","target":null}}"#, Expression::exp_decay(x()).into()),
        ] {
            assert_eq!(read(text), Ok(right), "{text}");
        }
        for (text, part) in [
            ("{}", "a condition without"),
            ("true", "a number, a variable"),
            ("[1]", "a number, a variable"),
            (r#"{"div":{"left":1}}"#, "missing field `right`"),
            (r#"{"sum":1}"#, "expected a sequence"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
