//! What a formula gives for a point.

use super::DecayKind;
use super::check::{CheckedFormula, Defaults, Part};
use crate::error::QueryError;
use crate::filter::{GeoPoint, parse_datetime};
use crate::path::{FieldPath, elements_at};
use crate::point_id::PointId;
use crate::value::{Payload, Value};

/// What a formula looks at.
pub(crate) struct Point<'a> {
    pub(crate) id: PointId,
    pub(crate) payload: &'a Payload,
    pub(crate) has_vector: &'a dyn Fn(&str) -> bool,
    /// What each prefetch gave it, as far as it found it.
    pub(crate) scores: &'a [Option<f32>],
}

type Result<T> = std::result::Result<T, QueryError>;

impl CheckedFormula {
    /// The score of a point.
    pub(crate) fn score(&self, point: &Point<'_>) -> Result<f32> {
        let score = Evaluator { point, defaults: &self.defaults }.value(&self.root)?;
        finite(f64::from(score as f32), || format!("the formula, {score}")).map(|score| score as f32)
    }
}

struct Evaluator<'a> {
    point: &'a Point<'a>,
    defaults: &'a Defaults,
}

impl Evaluator<'_> {
    fn value(&self, part: &Part) -> Result<f64> {
        match part {
            Part::Constant(number) => Ok(*number),
            Part::Score(number) => Ok(self.score(*number)),
            Part::Field(path) => {
                let value = self.payload(path)?;
                let number = value.as_number().ok_or_else(|| self.wrong(path, value, "a number"))?;
                Ok(number.as_f64())
            }
            Part::Condition(filter) => {
                let Point { id, payload, has_vector, .. } = *self.point;
                Ok(f64::from(u8::from(filter.matches(id, payload, has_vector))))
            }
            Part::GeoDistance { origin, to } => {
                let value = self.payload(to)?;
                let place = GeoPoint::of(value).ok_or_else(|| self.wrong(to, value, "a place {lon, lat}"))?;
                Ok(origin.distance(place))
            }
            Part::DatetimeField(path) => {
                let value = self.payload(path)?;
                let moment = value.as_str().and_then(parse_datetime);
                Ok(moment.ok_or_else(|| self.wrong(path, value, "a moment"))? as f64 / 1e6)
            }
            Part::Product(parts) => self.product(parts),
            Part::Sum(parts) => parts.iter().map(|part| self.value(part)).sum(),
            Part::Neg(part) => Ok(-self.value(part)?),
            Part::Abs(part) => Ok(self.value(part)?.abs()),
            Part::Div { left, right, by_zero_default } => self.quotient(left, right, *by_zero_default),
            Part::Sqrt(part) => self.of(part, "sqrt", f64::sqrt),
            Part::Pow { base, exponent } => {
                let (base, exponent) = (self.value(base)?, self.value(exponent)?);
                finite(base.powf(exponent), || format!("{base}^{exponent}"))
            }
            Part::Exp(part) => self.of(part, "exp", f64::exp),
            Part::Log10(part) => self.of(part, "log10", f64::log10),
            Part::Ln(part) => self.of(part, "ln", f64::ln),
            Part::Decay { kind, x, target, scale, midpoint } => {
                let target = target.as_ref().map_or(Ok(0.0), |target| self.value(target))?;
                Ok(decay(*kind, (self.value(x)? - target).abs(), *scale, *midpoint))
            }
        }
    }

    fn score(&self, number: usize) -> f64 {
        let score = self.point.scores.get(number).copied().flatten().map(f64::from);
        score.or_else(|| self.defaults.scores.get(&number).copied()).unwrap_or(0.0)
    }

    /// The one value at a path, or its default.
    fn payload(&self, path: &FieldPath) -> Result<&Value> {
        let mut values = elements_at(self.point.payload, path);
        match (values.next(), values.next()) {
            (Some(value), None) => return Ok(value),
            (Some(first), Some(_)) => return Err(self.wrong(path, first, "a single value, not several")),
            _ => {}
        }
        match self.defaults.fields.get(path) {
            Some(Value::Array(values)) if values.len() == 1 => Ok(&values[0]),
            Some(value) => Ok(value),
            None => {
                let found = format!("no value of point {} at {path}", self.point.id);
                Err(QueryError::bad("formula", found, "one, in the payload or in the defaults"))
            }
        }
    }

    fn wrong(&self, path: &FieldPath, found: &Value, expected: &str) -> QueryError {
        let found = format!("{} at {path} of point {}", found.kind(), self.point.id);
        QueryError::bad("formula", found, expected)
    }

    fn product(&self, parts: &[Part]) -> Result<f64> {
        let mut product = 1.0;
        for part in parts {
            let factor = self.value(part)?;
            if factor == 0.0 {
                return Ok(0.0);
            }
            product *= factor;
        }
        Ok(product)
    }

    fn quotient(&self, left: &Part, right: &Part, by_zero_default: Option<f64>) -> Result<f64> {
        let left = self.value(left)?;
        if left == 0.0 {
            return Ok(0.0);
        }
        let right = self.value(right)?;
        match by_zero_default {
            Some(value) if right == 0.0 => Ok(value),
            _ => finite(left / right, || format!("{left} / {right}")),
        }
    }

    fn of(&self, part: &Part, name: &str, function: impl Fn(f64) -> f64) -> Result<f64> {
        let x = self.value(part)?;
        finite(function(x), || format!("{name}({x})"))
    }
}

/// At a distance of `scale` it is the midpoint.
fn decay(kind: DecayKind, distance: f64, scale: f64, midpoint: f64) -> f64 {
    let steps = distance / scale;
    match kind {
        DecayKind::Linear => (1.0 - (1.0 - midpoint) * steps).max(0.0),
        DecayKind::Exponential => midpoint.powf(steps),
        DecayKind::Gauss => midpoint.powf(steps * steps),
    }
}

fn finite(number: f64, what: impl Fn() -> String) -> Result<f64> {
    if number.is_finite() {
        return Ok(number);
    }
    let found = format!("{} is no finite number", what());
    Err(QueryError::bad("formula", found, "finite numbers; keep away from what has no value there"))
}

#[cfg(test)]
mod tests;
