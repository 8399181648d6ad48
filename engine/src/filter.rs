//! Filters: what a point must be like to be found.
//!
//! A [`Filter`] is built, then checked once ([`Filter::check`]), then asked about point after point
//! ([`Checked::matches`]).
//!
//! # What conditions compare
//! A condition on a field looks at all values at its path, and at the elements of those that are arrays; it holds if it
//! holds for any of them. A value of another type than the condition's never matches, except by
//! [`Condition::matches_except`]. Only [`Condition::values_count`], [`Condition::is_empty`] and
//! [`Condition::is_null`] look at arrays as a whole.

pub use check::{FILTER_CONDITIONS_MAX, FILTER_DEPTH_MAX, FILTER_VALUES_MAX, POLYGON_CORNERS_MAX};
pub use checked::{Checked, Group, Interval, Node, Scalars, Test, TextMode, TextQuery};
pub use datetime::{format_datetime, parse_datetime};
pub use error::FilterError;
pub use geo::{GeoBox, GeoPoint, GeoPolygon, GeoRadius, Shape};
pub(crate) use matches::count;
pub use text::{PREFIX_CHARS_MAX, TextOptions, Tokenizer, tokenize, tokenize_query};

use crate::point_id::PointId;
use crate::value::Number;

mod check;
mod checked;
mod datetime;
mod error;
pub(crate) mod geo;
mod matches;
#[cfg(test)]
mod tests;
pub(crate) mod text;

/// What a point must be like. All four parts must hold; a part without conditions does.
///
/// ```
/// use nearline::{Condition, Filter, Payload, PointId};
///
/// let filter = Filter::must([
///     Condition::matches("city", "Berlin"),
///     Condition::range("price").gte(3.0).lt(7.0),
/// ])
/// .and_must_not([Condition::is_null("owner")]);
///
/// let checked = filter.check()?;
/// let payload = Payload::new().with("city", "Berlin").with("price", 5);
/// assert!(checked.matches(PointId::from(1), &payload, |_vector| true));
/// # Ok::<(), nearline::FilterError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// All of these hold.
    pub must: Vec<Condition>,
    /// Any of these holds, if there are any.
    pub should: Vec<Condition>,
    /// None of these holds.
    pub must_not: Vec<Condition>,
    /// So many of these hold.
    pub min_should: Option<MinShould>,
}

/// Conditions of which some hold.
#[derive(Clone, Debug, PartialEq)]
pub struct MinShould {
    /// The conditions.
    pub conditions: Vec<Condition>,
    /// How many of them hold at least; 1 at least.
    pub min_count: usize,
}

/// One condition. The functions build them; the variants are there for those who take filters apart.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Condition {
    /// About the values at a path of the payload.
    Field {
        /// The path, as text.
        key: String,
        /// What a value must be like.
        test: FieldTest,
    },
    /// The point's id is among these.
    HasId(Vec<PointId>),
    /// The point has the vector of this name.
    HasVector(String),
    /// The point is in one of so many parts of all points.
    Slice {
        /// Parts.
        total: u32,
        /// The number of the part, counted from 0.
        index: u32,
    },
    /// A filter holds for an object in an array.
    Nested {
        /// The path to the array, as text.
        key: String,
        /// What an element must be like; its paths start at the element.
        filter: Filter,
    },
    /// A whole filter holds.
    Filter(Filter),
    /// What comes of a bound on a condition that has none; refused when the filter is checked.
    Misplaced {
        /// The bound: `gt`, `gte`, `lt`, `lte`.
        bound: &'static str,
        /// The condition it was put on.
        condition: Box<Condition>,
    },
}

/// What the values of a field must be like.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FieldTest {
    /// Equal to a value.
    Match(MatchValue),
    /// Equal to one of several values.
    MatchAny(Vec<MatchValue>),
    /// There, not null, and equal to none of several values.
    MatchExcept(Vec<MatchValue>),
    /// A string that begins so.
    MatchPrefix(String),
    /// A string with all tokens of this text.
    MatchText(String),
    /// A string with any token of this text.
    MatchTextAny(String),
    /// A string with the words of this text, one after the other.
    MatchPhrase(String),
    /// A number or moment within bounds.
    Range(Range),
    /// A place in a box.
    GeoBox(GeoBox),
    /// A place near another one.
    GeoRadius(GeoRadius),
    /// A place in a polygon.
    GeoPolygon(GeoPolygon),
    /// So many values.
    ValuesCount(Range),
    /// Missing, null or an empty array.
    IsEmpty,
    /// Null, or an array with a null in it.
    IsNull,
}

/// A value to compare with for equality. Floats have ranges instead.
#[derive(Clone, Debug, PartialEq)]
pub enum MatchValue {
    /// A string.
    Keyword(String),
    /// An integer.
    Integer(Number),
    /// A bool.
    Bool(bool),
}

/// Bounds, each of which may be missing; those that are there all hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Range {
    /// Greater than this.
    pub gt: Option<RangeBound>,
    /// Greater than or equal to this.
    pub gte: Option<RangeBound>,
    /// Less than this.
    pub lt: Option<RangeBound>,
    /// Less than or equal to this.
    pub lte: Option<RangeBound>,
}

/// A bound of a range: of numbers, or of moments.
#[derive(Clone, Debug, PartialEq)]
pub enum RangeBound {
    /// A number.
    Number(Number),
    /// A moment, as [`parse_datetime`] reads it.
    Datetime(String),
}

impl Filter {
    /// A filter without conditions: everything matches.
    pub fn new() -> Self {
        Self::default()
    }

    /// A filter of conditions that all hold.
    pub fn must(conditions: impl IntoIterator<Item = Condition>) -> Self {
        Self::new().and_must(conditions)
    }

    /// A filter of conditions of which any holds.
    pub fn should(conditions: impl IntoIterator<Item = Condition>) -> Self {
        Self::new().and_should(conditions)
    }

    /// A filter of conditions of which none holds.
    pub fn must_not(conditions: impl IntoIterator<Item = Condition>) -> Self {
        Self::new().and_must_not(conditions)
    }

    /// A filter of conditions of which so many hold.
    ///
    /// ```
    /// use nearline::{Condition, Filter};
    ///
    /// let two_of_three = Filter::min_should(2, [
    ///     Condition::matches("sunny", true),
    ///     Condition::range("price").lt(900),
    ///     Condition::matches_any("district", ["Mitte", "Wedding"]),
    /// ]);
    /// # two_of_three.check().unwrap();
    /// ```
    pub fn min_should(min_count: usize, conditions: impl IntoIterator<Item = Condition>) -> Self {
        let conditions = conditions.into_iter().collect();
        Self { min_should: Some(MinShould { conditions, min_count }), ..Self::default() }
    }

    /// The filter with more conditions that all hold.
    #[must_use]
    pub fn and_must(mut self, conditions: impl IntoIterator<Item = Condition>) -> Self {
        self.must.extend(conditions);
        self
    }

    /// The filter with more conditions of which, with the others, any holds.
    #[must_use]
    pub fn and_should(mut self, conditions: impl IntoIterator<Item = Condition>) -> Self {
        self.should.extend(conditions);
        self
    }

    /// The filter with more conditions of which none holds.
    #[must_use]
    pub fn and_must_not(mut self, conditions: impl IntoIterator<Item = Condition>) -> Self {
        self.must_not.extend(conditions);
        self
    }
}

impl Condition {
    /// A value equals this keyword, integer or bool.
    pub fn matches(key: impl Into<String>, value: impl Into<MatchValue>) -> Self {
        Self::field(key, FieldTest::Match(value.into()))
    }

    /// A value equals one of these. Without any of them nothing matches.
    ///
    /// ```
    /// use nearline::{Condition, Filter, Payload, PointId};
    ///
    /// let filter = Filter::must([Condition::matches_any("tags", ["new", "sale"])]).check()?;
    /// let tags = |tags: &[&str]| Payload::new().with("tags", tags.to_vec());
    /// assert!(filter.matches(PointId::from(1), &tags(&["sale", "red"]), |_| false));
    /// assert!(!filter.matches(PointId::from(1), &tags(&["red"]), |_| false));
    /// # Ok::<(), nearline::FilterError>(())
    /// ```
    pub fn matches_any<V: Into<MatchValue>>(
        key: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        Self::field(key, FieldTest::MatchAny(values.into_iter().map(Into::into).collect()))
    }

    /// A value is there that is not null and equals none of these, whatever its type. To exclude points any of whose
    /// values is listed, put [`Condition::matches_any`] under `must_not`.
    pub fn matches_except<V: Into<MatchValue>>(
        key: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        Self::field(key, FieldTest::MatchExcept(values.into_iter().map(Into::into).collect()))
    }

    /// A string begins with these characters.
    pub fn matches_prefix(key: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self::field(key, FieldTest::MatchPrefix(prefix.into()))
    }

    /// A string holds all tokens of this text, in any order. Tokens are those of the field's text index, or
    /// [`TextOptions::default`]. A text without tokens matches nothing.
    ///
    /// ```
    /// use nearline::{Condition, Filter, Payload, PointId};
    ///
    /// let filter = Filter::must([Condition::matches_text("title", "fox quick")]).check()?;
    /// let payload = Payload::new().with("title", "The quick brown fox");
    /// assert!(filter.matches(PointId::from(1), &payload, |_| false));
    /// # Ok::<(), nearline::FilterError>(())
    /// ```
    pub fn matches_text(key: impl Into<String>, text: impl Into<String>) -> Self {
        Self::field(key, FieldTest::MatchText(text.into()))
    }

    /// A string holds any token of this text.
    pub fn matches_text_any(key: impl Into<String>, text: impl Into<String>) -> Self {
        Self::field(key, FieldTest::MatchTextAny(text.into()))
    }

    /// A string holds the words of this text, one after the other.
    pub fn matches_phrase(key: impl Into<String>, text: impl Into<String>) -> Self {
        Self::field(key, FieldTest::MatchPhrase(text.into()))
    }

    /// A number, or a moment, within bounds that are put on it by [`gt`](Self::gt), [`gte`](Self::gte),
    /// [`lt`](Self::lt) and [`lte`](Self::lte). Without bounds any number matches. Numbers are compared exactly,
    /// integers with floats too.
    ///
    /// ```
    /// use nearline::{Condition, Filter, Payload, PointId};
    ///
    /// let filter = Filter::must([
    ///     Condition::range("price").gt(3).lte(7.5),
    ///     Condition::range("listed").gte("2024-01-01").lt("2025-01-01T00:00:00+01:00"),
    /// ])
    /// .check()?;
    /// let payload = Payload::new().with("price", 7.5).with("listed", "2024-06-30T12:00:00Z");
    /// assert!(filter.matches(PointId::from(1), &payload, |_| false));
    /// # Ok::<(), nearline::FilterError>(())
    /// ```
    pub fn range(key: impl Into<String>) -> Self {
        Self::field(key, FieldTest::Range(Range::default()))
    }

    /// A place in a box, borders included. If its eastern border lies west of the western one, the box crosses the
    /// antimeridian.
    ///
    /// ```
    /// use nearline::{Condition, Filter, GeoPoint};
    ///
    /// let berlin = Condition::geo_box(
    ///     "place",
    ///     GeoPoint { lat: 52.7, lon: 13.0 },
    ///     GeoPoint { lat: 52.3, lon: 13.8 },
    /// );
    /// assert!(Filter::must([berlin]).check().is_ok());
    /// ```
    pub fn geo_box(key: impl Into<String>, top_left: GeoPoint, bottom_right: GeoPoint) -> Self {
        Self::field(key, FieldTest::GeoBox(GeoBox { top_left, bottom_right }))
    }

    /// A place no farther than this from another one, along the earth's surface.
    pub fn geo_radius(key: impl Into<String>, center: GeoPoint, radius_meters: f64) -> Self {
        Self::field(key, FieldTest::GeoRadius(GeoRadius { center, radius_meters }))
    }

    /// A place inside of a ring, borders included, and of no hole. Rings end where they begin.
    pub fn geo_polygon(
        key: impl Into<String>,
        exterior: impl Into<Vec<GeoPoint>>,
        interiors: impl Into<Vec<Vec<GeoPoint>>>,
    ) -> Self {
        let polygon = GeoPolygon { exterior: exterior.into(), interiors: interiors.into() };
        Self::field(key, FieldTest::GeoPolygon(polygon))
    }

    /// The number of values is within bounds: the length of an array, 0 for null and for what is missing, 1 for
    /// anything else.
    ///
    /// ```
    /// use nearline::{Condition, Filter, Payload, PointId};
    ///
    /// let filter = Filter::must([Condition::values_count("tags").gte(2)]).check()?;
    /// let payload = Payload::new().with("tags", ["new", "sale"]);
    /// assert!(filter.matches(PointId::from(1), &payload, |_| false));
    /// # Ok::<(), nearline::FilterError>(())
    /// ```
    pub fn values_count(key: impl Into<String>) -> Self {
        Self::field(key, FieldTest::ValuesCount(Range::default()))
    }

    /// The field is missing, null or an empty array.
    pub fn is_empty(key: impl Into<String>) -> Self {
        Self::field(key, FieldTest::IsEmpty)
    }

    /// The field is there and null, or an array with a null in it.
    pub fn is_null(key: impl Into<String>) -> Self {
        Self::field(key, FieldTest::IsNull)
    }

    /// The point's id is one of these.
    pub fn has_id<I: Into<PointId>>(ids: impl IntoIterator<Item = I>) -> Self {
        Self::HasId(ids.into_iter().map(Into::into).collect())
    }

    /// The point has the vector of this name.
    pub fn has_vector(name: impl Into<String>) -> Self {
        Self::HasVector(name.into())
    }

    /// The point is in one of `total` parts of about the same size, numbers counted from 0. In which one depends on its id alone,
    /// so all points can be gone through part by part, at different times or by several threads.
    ///
    /// ```
    /// use nearline::{Condition, Filter, Payload, PointId};
    ///
    /// let is_in = |part| {
    ///     let filter = Filter::must([Condition::slice(3, part)]).check().unwrap();
    ///     filter.matches(PointId::from(42), &Payload::new(), |_| false)
    /// };
    /// assert_eq!((0..3).filter(|&part| is_in(part)).count(), 1);
    /// ```
    pub fn slice(total: u32, index: u32) -> Self {
        Self::Slice { total, index }
    }

    /// A filter holds for one and the same object in an array.
    ///
    /// ```
    /// use nearline::{Condition, Filter, Payload, PointId, Value};
    ///
    /// let large_and_sunny = Filter::must([
    ///     Condition::range("area").gte(20),
    ///     Condition::matches("sunny", true),
    /// ]);
    /// let filter = Filter::must([Condition::nested("rooms", large_and_sunny)]).check()?;
    /// let room = |area: i32, sunny: bool| Value::from(Payload::new().with("area", area).with("sunny", sunny));
    /// let flat = Payload::new().with("rooms", [room(25, false), room(9, true)]);
    /// assert!(!filter.matches(PointId::from(1), &flat, |_| false));
    /// # Ok::<(), nearline::FilterError>(())
    /// ```
    pub fn nested(key: impl Into<String>, filter: Filter) -> Self {
        Self::Nested { key: key.into(), filter }
    }

    /// The condition with a bound: greater than. As the other bounds, it belongs on [`Condition::range`] and
    /// [`Condition::values_count`]; on anything else the filter will be refused.
    #[must_use]
    pub fn gt(self, bound: impl Into<RangeBound>) -> Self {
        self.bounded("gt", |range| range.gt = Some(bound.into()))
    }

    /// The condition with a bound: greater than or equal to.
    #[must_use]
    pub fn gte(self, bound: impl Into<RangeBound>) -> Self {
        self.bounded("gte", |range| range.gte = Some(bound.into()))
    }

    /// The condition with a bound: less than.
    #[must_use]
    pub fn lt(self, bound: impl Into<RangeBound>) -> Self {
        self.bounded("lt", |range| range.lt = Some(bound.into()))
    }

    /// The condition with a bound: less than or equal to.
    #[must_use]
    pub fn lte(self, bound: impl Into<RangeBound>) -> Self {
        self.bounded("lte", |range| range.lte = Some(bound.into()))
    }

    fn field(key: impl Into<String>, test: FieldTest) -> Self {
        Self::Field { key: key.into(), test }
    }

    fn bounded(mut self, bound: &'static str, set: impl FnOnce(&mut Range)) -> Self {
        if let Self::Field { test: FieldTest::Range(range) | FieldTest::ValuesCount(range), .. } = &mut self {
            set(range);
            return self;
        }
        Self::Misplaced { bound, condition: Box::new(self) }
    }

    /// The condition's name in errors.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Field { test, .. } => test.name(),
            Self::HasId(_) => "has_id",
            Self::HasVector(_) => "has_vector",
            Self::Slice { .. } => "slice",
            Self::Nested { .. } => "nested",
            Self::Filter(_) => "filter",
            Self::Misplaced { condition, .. } => condition.name(),
        }
    }
}

impl FieldTest {
    fn name(&self) -> &'static str {
        match self {
            Self::Match(_) => "matches",
            Self::MatchAny(_) => "matches_any",
            Self::MatchExcept(_) => "matches_except",
            Self::MatchPrefix(_) => "matches_prefix",
            Self::MatchText(_) => "matches_text",
            Self::MatchTextAny(_) => "matches_text_any",
            Self::MatchPhrase(_) => "matches_phrase",
            Self::Range(_) => "range",
            Self::GeoBox(_) => "geo_box",
            Self::GeoRadius(_) => "geo_radius",
            Self::GeoPolygon(_) => "geo_polygon",
            Self::ValuesCount(_) => "values_count",
            Self::IsEmpty => "is_empty",
            Self::IsNull => "is_null",
        }
    }
}

impl From<Filter> for Condition {
    fn from(filter: Filter) -> Self {
        Self::Filter(filter)
    }
}

impl From<&str> for MatchValue {
    fn from(keyword: &str) -> Self {
        Self::Keyword(keyword.to_owned())
    }
}

impl From<String> for MatchValue {
    fn from(keyword: String) -> Self {
        Self::Keyword(keyword)
    }
}

impl From<bool> for MatchValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for RangeBound {
    fn from(moment: &str) -> Self {
        Self::Datetime(moment.to_owned())
    }
}

impl From<String> for RangeBound {
    fn from(moment: String) -> Self {
        Self::Datetime(moment)
    }
}

macro_rules! from_numbers {
    ($type:ident::$variant:ident: $($number:ty),*) => {$(
        impl From<$number> for $type {
            fn from(number: $number) -> Self {
                Self::$variant(number.into())
            }
        }
    )*};
}

from_numbers!(MatchValue::Integer: i8, i16, i32, i64, u8, u16, u32, u64, usize);
from_numbers!(RangeBound::Number: Number, i8, i16, i32, i64, u8, u16, u32, u64, usize, f32, f64);
