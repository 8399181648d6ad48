//! Checking filters: every mistake a user can make is found here, before any point is looked at.

use std::cmp::Ordering;
use std::ops::Bound;

use crate::filter::checked::{Checked, Group, Interval, Node, Scalars, Test, TextMode, TextQuery};
use crate::filter::datetime::parse_datetime;
use crate::filter::error::FilterError;
use crate::filter::geo::{GeoBox, GeoPoint, GeoPolygon, GeoRadius, Shape};
use crate::filter::text::{TextOptions, tokenize_query, words};
use crate::filter::{Condition, FieldTest, Filter, MatchValue, Range, RangeBound};
use crate::path::FieldPath;
use crate::value::Number;

/// How deep filters may stand inside of filters, nested ones and the outermost included.
pub const FILTER_DEPTH_MAX: usize = 16;

/// Conditions of a filter at most, those of inner filters included.
pub const FILTER_CONDITIONS_MAX: usize = 4096;

/// Values to match, ids and words at most, in all conditions of a filter together.
pub const FILTER_VALUES_MAX: usize = 1 << 20;

/// Corners of a polygon at most, those of its holes included.
pub const POLYGON_CORNERS_MAX: usize = 1 << 16;

type Result<T> = std::result::Result<T, FilterError>;

impl Filter {
    /// Checks the filter and makes it ready. Texts are taken apart by [`TextOptions::default`].
    ///
    /// # Errors
    /// [`FilterError`] names the first condition that is wrong, its field, and what would be right.
    pub fn check(&self) -> Result<Checked> {
        self.check_with(|_| TextOptions::default())
    }

    /// As [`Filter::check`]; `text_options` says how the text of a field is taken apart. Of a condition inside of a
    /// nested one it is asked with the path in the whole payload.
    ///
    /// # Errors
    /// As [`Filter::check`].
    pub fn check_with(&self, text_options: impl Fn(&FieldPath) -> TextOptions) -> Result<Checked> {
        let mut checker = Checker { text_options: &text_options, conditions: 0, values: 0 };
        Ok(Checked { root: checker.group(self, Place { depth: 1, outer: None })? })
    }
}

/// Where in a filter we are.
#[derive(Clone, Copy)]
struct Place<'a> {
    depth: usize,
    /// The elements that paths start at, unless they start at the payload.
    outer: Option<&'a FieldPath>,
}

/// What is counted on the way.
struct Checker<'a> {
    text_options: &'a dyn Fn(&FieldPath) -> TextOptions,
    conditions: usize,
    values: usize,
}

impl Checker<'_> {
    fn group(&mut self, filter: &Filter, place: Place<'_>) -> Result<Group> {
        if place.depth > FILTER_DEPTH_MAX {
            return Err(FilterError::TooDeep { limit: FILTER_DEPTH_MAX });
        }
        let min_should = match &filter.min_should {
            Some(min_should) if min_should.min_count == 0 => return Err(FilterError::MinCount),
            Some(min_should) => Some((min_should.min_count, self.nodes(&min_should.conditions, place)?)),
            None => None,
        };
        Ok(Group {
            must: self.nodes(&filter.must, place)?,
            should: self.nodes(&filter.should, place)?,
            must_not: self.nodes(&filter.must_not, place)?,
            min_should,
        })
    }

    fn nodes(&mut self, conditions: &[Condition], place: Place<'_>) -> Result<Vec<Node>> {
        conditions.iter().map(|condition| self.node(condition, place)).collect()
    }

    fn node(&mut self, condition: &Condition, place: Place<'_>) -> Result<Node> {
        self.conditions += 1;
        if self.conditions > FILTER_CONDITIONS_MAX {
            return Err(FilterError::TooManyConditions { limit: FILTER_CONDITIONS_MAX });
        }
        let name = condition.name();
        let is_about_points =
            matches!(condition, Condition::HasId(_) | Condition::HasVector(_) | Condition::Slice { .. });
        if let (true, Some(outer)) = (is_about_points, place.outer) {
            return Err(FilterError::InNested { condition: name, field: outer.to_string() });
        }
        match condition {
            Condition::Field { key, test } => {
                let path = parse(key, name)?;
                let test = self.test(&Field { key, name }, &path, test, place)?;
                Ok(Node::Field { path, test })
            }
            Condition::HasId(ids) => {
                self.count(ids.len(), name)?;
                Ok(Node::HasId(ids.iter().copied().collect()))
            }
            Condition::HasVector(vector) => Ok(Node::HasVector(vector.clone())),
            Condition::Slice { total, index } if index < total => {
                Ok(Node::Slice { total: *total, index: *index })
            }
            Condition::Slice { total, index } => Err(FilterError::Slice { total: *total, index: *index }),
            Condition::Nested { key, filter } => {
                let path = parse(key, name)?.every_element();
                let whole = place.outer.map_or_else(|| path.clone(), |outer| outer.of_element(&path));
                let place = Place { depth: place.depth + 1, outer: Some(&whole) };
                Ok(Node::Nested { path, group: self.group(filter, place)? })
            }
            Condition::Filter(filter) => {
                let place = Place { depth: place.depth + 1, ..place };
                Ok(Node::Group(self.group(filter, place)?))
            }
            Condition::Misplaced { bound, .. } => Err(FilterError::Misplaced { condition: name, bound }),
        }
    }

    fn test(
        &mut self,
        field: &Field<'_>,
        path: &FieldPath,
        test: &FieldTest,
        place: Place<'_>,
    ) -> Result<Test> {
        Ok(match test {
            FieldTest::Match(value) => Test::Match(self.scalars(field, std::slice::from_ref(value))?),
            FieldTest::MatchAny(values) => Test::Match(self.scalars(field, values)?),
            FieldTest::MatchExcept(values) => Test::Except(self.scalars(field, values)?),
            FieldTest::MatchPrefix(prefix) => Test::Prefix(prefix.clone()),
            FieldTest::MatchText(text) => self.text(field, path, text, TextMode::All, place)?,
            FieldTest::MatchTextAny(text) => self.text(field, path, text, TextMode::Any, place)?,
            FieldTest::MatchPhrase(text) => self.text(field, path, text, TextMode::Phrase, place)?,
            FieldTest::Range(range) => field.range(range)?,
            FieldTest::ValuesCount(range) => field.count(range)?,
            FieldTest::GeoBox(shape) => Test::Geo(field.geo_box(*shape)?),
            FieldTest::GeoRadius(shape) => Test::Geo(field.geo_radius(*shape)?),
            FieldTest::GeoPolygon(shape) => Test::Geo(field.geo_polygon(shape)?),
            FieldTest::IsEmpty => Test::IsEmpty,
            FieldTest::IsNull => Test::IsNull,
        })
    }

    fn scalars(&mut self, field: &Field<'_>, values: &[MatchValue]) -> Result<Scalars> {
        self.count(values.len(), field.name)?;
        let mut scalars = Scalars::default();
        for value in values {
            match value {
                MatchValue::Keyword(keyword) => scalars.keywords.insert(keyword.clone()),
                MatchValue::Bool(value) => scalars.bools.insert(*value),
                MatchValue::Integer(number) => match number.as_i128() {
                    Some(integer) => scalars.integers.insert(integer),
                    None => return Err(field.match_float(*number)),
                },
            };
        }
        Ok(scalars)
    }

    fn text(
        &mut self,
        field: &Field<'_>,
        path: &FieldPath,
        text: &str,
        mode: TextMode,
        place: Place<'_>,
    ) -> Result<Test> {
        let options = match place.outer {
            Some(outer) => (self.text_options)(&outer.of_element(path)),
            None => (self.text_options)(path),
        };
        let tokens = tokenize_query(&options, text);
        self.count(tokens.len(), field.name)?;
        let words = if mode == TextMode::Phrase { words(&options, text) } else { Vec::new() };
        Ok(Test::Text(TextQuery { options, mode, tokens: tokens.into_iter().collect(), words }))
    }

    fn count(&mut self, values: usize, condition: &'static str) -> Result<()> {
        self.values = self.values.saturating_add(values);
        if self.values > FILTER_VALUES_MAX {
            let (found, limit) = (self.values, FILTER_VALUES_MAX);
            return Err(FilterError::TooManyValues { condition, found, limit });
        }
        Ok(())
    }
}

fn parse(key: &str, condition: &'static str) -> Result<FieldPath> {
    key.parse().map_err(|source| FilterError::Key { condition, source })
}

/// What errors name.
struct Field<'a> {
    key: &'a str,
    name: &'static str,
}

impl Field<'_> {
    /// Numbers, or moments if there is a text among the bounds.
    fn range(&self, range: &Range) -> Result<Test> {
        let bounds = [&range.gt, &range.gte, &range.lt, &range.lte];
        if !bounds.into_iter().flatten().any(|bound| matches!(bound, RangeBound::Datetime(_))) {
            return self.interval(range, Self::number, order).map(Test::Numbers);
        }
        self.interval(range, Self::moment, Ord::cmp).map(Test::Moments)
    }

    fn count(&self, range: &Range) -> Result<Test> {
        self.interval(range, Self::whole, order).map(Test::Count)
    }

    /// Of two bounds on a side the one that leaves less.
    fn interval<T: Copy>(
        &self,
        range: &Range,
        read: impl Fn(&Self, &'static str, &RangeBound) -> Result<T>,
        order: impl Fn(&T, &T) -> Ordering,
    ) -> Result<Interval<T>> {
        let get = |name, bound: &Option<RangeBound>| {
            bound.as_ref().map(|bound| read(self, name, bound)).transpose()
        };
        let (gt, gte) = (get("gt", &range.gt)?, get("gte", &range.gte)?);
        let (lt, lte) = (get("lt", &range.lt)?, get("lte", &range.lte)?);
        let side = |open: Option<T>, closed: Option<T>, tighter: Ordering| match (open, closed) {
            (Some(open), Some(closed)) if order(&closed, &open) == tighter => Bound::Included(closed),
            (Some(open), _) => Bound::Excluded(open),
            (None, Some(closed)) => Bound::Included(closed),
            (None, None) => Bound::Unbounded,
        };
        Ok(Interval { from: side(gt, gte, Ordering::Greater), to: side(lt, lte, Ordering::Less) })
    }

    fn number(&self, name: &'static str, bound: &RangeBound) -> Result<Number> {
        match bound {
            RangeBound::Number(number) if !number.is_nan() => Ok(*number),
            other => Err(self.bound(name, other, "a number")),
        }
    }

    fn moment(&self, name: &'static str, bound: &RangeBound) -> Result<i64> {
        let moment = match bound {
            RangeBound::Datetime(text) => parse_datetime(text),
            RangeBound::Number(_) => None,
        };
        moment.ok_or_else(|| {
            self.bound(name, bound, "a moment like the other bounds, such as 2024-02-29T12:00:00Z")
        })
    }

    fn whole(&self, name: &'static str, bound: &RangeBound) -> Result<Number> {
        match bound {
            RangeBound::Number(number) if number.as_u64().is_some() => Ok(*number),
            other => Err(self.bound(name, other, "a count: a whole number from 0")),
        }
    }

    fn bound(&self, bound: &'static str, found: &RangeBound, expected: &'static str) -> FilterError {
        let found = match found {
            RangeBound::Number(number) => number.to_string(),
            RangeBound::Datetime(text) => format!("{:?}", text.chars().take(64).collect::<String>()),
        };
        FilterError::Bound { condition: self.name, field: self.key.to_owned(), bound, found, expected }
    }

    fn match_float(&self, found: Number) -> FilterError {
        FilterError::MatchFloat { condition: self.name, field: self.key.to_owned(), found: found.as_f64() }
    }

    fn geo_box(&self, shape: GeoBox) -> Result<Shape> {
        self.places(&[shape.top_left, shape.bottom_right])?;
        let (top, bottom) = (shape.top_left.lat, shape.bottom_right.lat);
        if top < bottom {
            let found = format!("the top at latitude {top} lies below the bottom at {bottom}");
            return Err(self.geo(found, "top_left in the north, bottom_right in the south"));
        }
        Ok(Shape::Box(shape))
    }

    fn geo_radius(&self, shape: GeoRadius) -> Result<Shape> {
        self.places(&[shape.center])?;
        if !shape.radius_meters.is_finite() || shape.radius_meters < 0.0 {
            return Err(self.geo(format!("a radius of {} m", shape.radius_meters), "0 meters or more"));
        }
        Ok(Shape::Radius(shape))
    }

    fn geo_polygon(&self, shape: &GeoPolygon) -> Result<Shape> {
        let corners = shape.exterior.len() + shape.interiors.iter().map(Vec::len).sum::<usize>();
        if corners > POLYGON_CORNERS_MAX {
            return Err(self.geo(format!("{corners} corners"), "65536 corners at most: simplify the polygon"));
        }
        for (i, ring) in std::iter::once(&shape.exterior).chain(&shape.interiors).enumerate() {
            self.places(ring)?;
            let ring_name = || if i == 0 { "the exterior".to_owned() } else { format!("interior {}", i - 1) };
            if ring.len() < 4 {
                let found = format!("{} has {} points", ring_name(), ring.len());
                return Err(self.geo(found, "4 points at least, the last one equal to the first"));
            }
            if ring.first() != ring.last() {
                return Err(self.geo(format!("{} is open", ring_name()), "a last point equal to the first"));
            }
        }
        Ok(Shape::Polygon(shape.clone()))
    }

    fn places(&self, points: &[GeoPoint]) -> Result<()> {
        match points.iter().find(|point| !point.is_on_earth()) {
            Some(point) => {
                let found = format!("a point at latitude {}, longitude {}", point.lat, point.lon);
                Err(self.geo(found, "latitudes of -90 to 90 and longitudes of -180 to 180 degrees"))
            }
            None => Ok(()),
        }
    }

    fn geo(&self, found: String, expected: &'static str) -> FilterError {
        FilterError::Geo { condition: self.name, field: self.key.to_owned(), found, expected }
    }
}

/// The order of two numbers, neither of which is NaN.
fn order(a: &Number, b: &Number) -> Ordering {
    a.compare(*b).unwrap_or(Ordering::Equal)
}
