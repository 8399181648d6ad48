//! Filters: from the dialect's conditions to the library's.

use nearline::filter::{FieldTest, GeoBox, GeoPolygon, GeoRadius, MinShould, Range};
use nearline::{Condition, Filter, GeoPoint, MatchValue, Number, PointId, RangeBound};
use schemars::JsonSchema;
use serde::Deserialize;

use super::one_or_many::OneOrMany;
use crate::error::ApiError;
use crate::json::shape::Id;

/// A filter as it is written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FilterIn {
    must: Option<OneOrMany<ConditionIn>>,
    should: Option<OneOrMany<ConditionIn>>,
    must_not: Option<OneOrMany<ConditionIn>>,
    min_should: Option<MinShouldIn>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MinShouldIn {
    conditions: Vec<ConditionIn>,
    min_count: usize,
}

/// A condition: the members say which it is.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ConditionIn {
    key: Option<String>,
    r#match: Option<MatchIn>,
    range: Option<RangeIn>,
    geo_bounding_box: Option<BoxIn>,
    geo_radius: Option<RadiusIn>,
    geo_polygon: Option<PolygonIn>,
    values_count: Option<CountIn>,
    is_empty: Option<IsIn>,
    is_null: Option<IsIn>,
    #[schemars(with = "Option<Vec<Id>>")]
    has_id: Option<Vec<PointId>>,
    has_vector: Option<String>,
    slice: Option<SliceIn>,
    nested: Option<NestedIn>,
    must: Option<OneOrMany<ConditionIn>>,
    should: Option<OneOrMany<ConditionIn>>,
    must_not: Option<OneOrMany<ConditionIn>>,
    min_should: Option<MinShouldIn>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct MatchIn {
    value: Option<Scalar>,
    text: Option<String>,
    text_any: Option<String>,
    phrase: Option<String>,
    prefix: Option<String>,
    any: Option<Scalars>,
    except: Option<Scalars>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a string, an integer or a bool")]
enum Scalar {
    Bool(bool),
    Integer(i64),
    Keyword(String),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a list of strings, or one of integers")]
enum Scalars {
    Keywords(Vec<String>),
    Integers(Vec<i64>),
}

/// Bounds: numbers, or moments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct RangeIn {
    gt: Option<BoundIn>,
    gte: Option<BoundIn>,
    lt: Option<BoundIn>,
    lte: Option<BoundIn>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a number, or a moment such as 2024-02-29T12:00:00Z")]
enum BoundIn {
    Number(#[schemars(with = "f64")] Number),
    Moment(String),
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct CountIn {
    gt: Option<u64>,
    gte: Option<u64>,
    lt: Option<u64>,
    lte: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields, expecting = "expected a bool beside a key, or an object with a key")]
enum IsIn {
    Beside(bool),
    Key { key: String },
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlaceIn {
    lon: f64,
    lat: f64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BoxIn {
    top_left: PlaceIn,
    bottom_right: PlaceIn,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RadiusIn {
    center: PlaceIn,
    radius: f64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RingIn {
    points: Vec<PlaceIn>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PolygonIn {
    exterior: RingIn,
    interiors: Option<Vec<RingIn>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SliceIn {
    total: u32,
    index: u32,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NestedIn {
    key: String,
    filter: FilterIn,
}

impl FilterIn {
    /// The filter of the library. Its values are checked when it is used.
    pub(crate) fn read(self) -> Result<Filter, ApiError> {
        filter(self.must, self.should, self.must_not, self.min_should)
    }
}

type Conditions = Option<OneOrMany<ConditionIn>>;

fn filter(
    must: Conditions,
    should: Conditions,
    must_not: Conditions,
    min_should: Option<MinShouldIn>,
) -> Result<Filter, ApiError> {
    let all = |conditions: Conditions| -> Result<Vec<Condition>, ApiError> {
        conditions.unwrap_or_default().0.into_iter().map(ConditionIn::read).collect()
    };
    let min_should = match min_should {
        Some(MinShouldIn { min_count: 0, .. }) => {
            return Err(ApiError::invalid("min_count", 0, "must be 1 or larger"));
        }
        Some(MinShouldIn { conditions, min_count }) => {
            let conditions = conditions.into_iter().map(ConditionIn::read).collect::<Result<_, _>>()?;
            Some(MinShould { conditions, min_count })
        }
        None => None,
    };
    Ok(Filter { must: all(must)?, should: all(should)?, must_not: all(must_not)?, min_should })
}

impl ConditionIn {
    /// The condition of the library.
    pub(crate) fn read(self) -> Result<Condition, ApiError> {
        let is_filter = self.must.is_some()
            || self.should.is_some()
            || self.must_not.is_some()
            || self.min_should.is_some();
        if is_filter {
            return filter(self.must, self.should, self.must_not, self.min_should).map(Condition::Filter);
        }
        if let Some(SliceIn { total, index }) = self.slice {
            return match total {
                0 => Err(ApiError::invalid("slice.total", 0, "must be 1 or larger")),
                _ => Ok(Condition::slice(total, index)),
            };
        }
        if let Some(key) = self.key.clone() {
            return self.field(key);
        }
        if let Some(ids) = self.has_id {
            return Ok(Condition::has_id(ids));
        }
        if let Some(name) = self.has_vector {
            return Ok(Condition::has_vector(name));
        }
        if let Some(NestedIn { key, filter }) = self.nested {
            return Ok(Condition::nested(key, filter.read()?));
        }
        match (self.is_empty, self.is_null) {
            (Some(IsIn::Key { key }), _) => Ok(Condition::is_empty(key)),
            (_, Some(IsIn::Key { key })) => Ok(Condition::is_null(key)),
            _ => Err(ApiError::bad_request(
                "a condition without `key` and without any of has_id, has_vector, slice, nested, is_empty, is_null, must, \
                 should, must_not, min_should",
            )),
        }
    }

    /// What is asked of the values of one field. Of several tests any may hold.
    fn field(self, key: String) -> Result<Condition, ApiError> {
        let mut tests = Vec::new();
        if let Some(given) = self.r#match {
            tests.push(given.read()?);
        }
        tests.extend(self.range.map(|range| FieldTest::Range(range.read())));
        tests.extend(self.geo_bounding_box.map(BoxIn::read));
        tests.extend(self.geo_radius.map(RadiusIn::read));
        tests.extend(self.geo_polygon.map(PolygonIn::read));
        tests.extend(self.values_count.map(|count| FieldTest::ValuesCount(count.read())));
        let field = |test| Condition::Field { key: key.clone(), test };
        let mut conditions: Vec<Condition> = tests.into_iter().map(field).collect();
        for (is, test) in [(self.is_empty, FieldTest::IsEmpty), (self.is_null, FieldTest::IsNull)] {
            match is {
                Some(IsIn::Beside(true)) => conditions.push(field(test)),
                Some(IsIn::Beside(false)) => conditions.push(Filter::must_not([field(test)]).into()),
                _ => {}
            }
        }
        match (conditions.len(), conditions.pop()) {
            (1, Some(only)) => Ok(only),
            (_, Some(last)) => {
                conditions.push(last);
                Ok(Filter::should(conditions).into())
            }
            _ => Err(ApiError::invalid("key", &key, "at least one field condition must be specified")),
        }
    }
}

impl MatchIn {
    fn read(self) -> Result<FieldTest, ApiError> {
        if let Some(value) = self.value {
            return Ok(FieldTest::Match(match value {
                Scalar::Bool(value) => value.into(),
                Scalar::Integer(value) => value.into(),
                Scalar::Keyword(value) => value.into(),
            }));
        }
        let texts = [
            (self.text, FieldTest::MatchText as fn(String) -> FieldTest),
            (self.text_any, FieldTest::MatchTextAny),
            (self.phrase, FieldTest::MatchPhrase),
            (self.prefix, FieldTest::MatchPrefix),
        ];
        for (text, test) in texts {
            if let Some(text) = text {
                return Ok(test(text));
            }
        }
        match (self.any, self.except) {
            (Some(values), _) => Ok(FieldTest::MatchAny(values.read())),
            (_, Some(values)) => Ok(FieldTest::MatchExcept(values.read())),
            _ => Err(ApiError::bad_request(
                "a match without any of value, text, text_any, phrase, prefix, any, except",
            )),
        }
    }
}

impl Scalars {
    fn read(self) -> Vec<MatchValue> {
        match self {
            Self::Keywords(values) => values.into_iter().map(Into::into).collect(),
            Self::Integers(values) => values.into_iter().map(Into::into).collect(),
        }
    }
}

impl RangeIn {
    fn read(self) -> Range {
        let bound = |bound: Option<BoundIn>| {
            bound.map(|bound| match bound {
                BoundIn::Number(number) => RangeBound::Number(number),
                BoundIn::Moment(text) => RangeBound::Datetime(text),
            })
        };
        Range { gt: bound(self.gt), gte: bound(self.gte), lt: bound(self.lt), lte: bound(self.lte) }
    }
}

impl CountIn {
    fn read(self) -> Range {
        let bound = |bound: Option<u64>| bound.map(RangeBound::from);
        Range { gt: bound(self.gt), gte: bound(self.gte), lt: bound(self.lt), lte: bound(self.lte) }
    }
}

impl PlaceIn {
    /// The place of the library.
    pub(crate) fn read(self) -> GeoPoint {
        GeoPoint { lat: self.lat, lon: self.lon }
    }
}

impl BoxIn {
    fn read(self) -> FieldTest {
        FieldTest::GeoBox(GeoBox { top_left: self.top_left.read(), bottom_right: self.bottom_right.read() })
    }
}

impl RadiusIn {
    fn read(self) -> FieldTest {
        FieldTest::GeoRadius(GeoRadius { center: self.center.read(), radius_meters: self.radius })
    }
}

impl PolygonIn {
    fn read(self) -> FieldTest {
        let interiors = self.interiors.unwrap_or_default().into_iter().map(RingIn::read).collect();
        FieldTest::GeoPolygon(GeoPolygon { exterior: self.exterior.read(), interiors })
    }
}

impl RingIn {
    fn read(self) -> Vec<GeoPoint> {
        self.points.into_iter().map(PlaceIn::read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Filter, String> {
        let filter: FilterIn = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let filter = filter.read().map_err(|error| error.to_string())?;
        filter.check().map_err(|error| error.to_string())?;
        Ok(filter)
    }

    #[test]
    fn conditions_become_those_of_the_library() {
        let berlin = GeoPoint { lat: 52.5, lon: 13.4 };
        for (text, right) in [
            (r#"{"key":"a","match":{"value":"x"}}"#, Condition::matches("a", "x")),
            (r#"{"key":"a.b[]","match":{"value":7}}"#, Condition::matches("a.b[]", 7)),
            (r#"{"key":"a","match":{"value":true}}"#, Condition::matches("a", true)),
            (r#"{"key":"a","match":{"any":["x","y"]}}"#, Condition::matches_any("a", ["x", "y"])),
            (r#"{"key":"a","match":{"any":[]}}"#, Condition::matches_any("a", Vec::<String>::new())),
            (r#"{"key":"a","match":{"except":[1,2]}}"#, Condition::matches_except("a", [1, 2])),
            (r#"{"key":"a","match":{"text":"x y"}}"#, Condition::matches_text("a", "x y")),
            (r#"{"key":"a","match":{"text_any":"x y"}}"#, Condition::matches_text_any("a", "x y")),
            (r#"{"key":"a","match":{"phrase":"x y"}}"#, Condition::matches_phrase("a", "x y")),
            (r#"{"key":"a","match":{"prefix":"x"}}"#, Condition::matches_prefix("a", "x")),
            (r#"{"key":"a","range":{"gt":1,"lte":2.5,"lt":null}}"#, Condition::range("a").gt(1).lte(2.5)),
            (r#"{"key":"a","range":{"gte":"2024-01-01"}}"#, Condition::range("a").gte("2024-01-01")),
            (r#"{"key":"a","values_count":{"gte":2}}"#, Condition::values_count("a").gte(2_u64)),
            (r#"{"key":"a","is_empty":true}"#, Condition::is_empty("a")),
            (r#"{"key":"a","is_null":false}"#, Filter::must_not([Condition::is_null("a")]).into()),
            (r#"{"is_empty":{"key":"a"}}"#, Condition::is_empty("a")),
            (r#"{"is_null":{"key":"a"}}"#, Condition::is_null("a")),
            (r#"{"has_id":[1,2]}"#, Condition::has_id([1, 2])),
            (r#"{"has_vector":"v"}"#, Condition::has_vector("v")),
            (r#"{"slice":{"total":3,"index":1}}"#, Condition::slice(3, 1)),
            (
                r#"{"nested":{"key":"a","filter":{"must":{"key":"b","match":{"value":1}}}}}"#,
                Condition::nested("a", Filter::must([Condition::matches("b", 1)])),
            ),
            (
                r#"{"key":"a","geo_radius":{"center":{"lon":13.4,"lat":52.5},"radius":10}}"#,
                Condition::geo_radius("a", berlin, 10.0),
            ),
            (
                r#"{"should":[{"has_id":[1]}],"min_should":{"conditions":[{"has_id":[2]}],"min_count":1}}"#,
                Filter::min_should(1, [Condition::has_id([2])]).and_should([Condition::has_id([1])]).into(),
            ),
        ] {
            let filter = Ok(Filter::must([right]));
            assert_eq!(read(&format!(r#"{{"must":[{text}]}}"#)), filter, "{text}");
            assert_eq!(read(&format!(r#"{{"must":{text}}}"#)), filter, "{text}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let deep = |levels| r#"{"must":"#.repeat(levels) + r#"{"has_id":[1]}"# + &"}".repeat(levels);
        for (text, part) in [
            (r#"{"musts":[]}"#.to_owned(), "unknown field `musts`"),
            (r#"{"must":[{"key":"a","mach":{"value":1}}]}"#.to_owned(), "unknown field `mach`"),
            (r#"{"must":{"key":"a","match":{"value":1,"ayn":[2]}}}"#.to_owned(), "unknown field `ayn`"),
            (r#"{"must":{"key":"a","range":{"gt":1,"less":2}}}"#.to_owned(), "unknown field `less`"),
            (r#"{"must":{"nested":{"key":"a","filters":{}}}}"#.to_owned(), "unknown field `filters`"),
            (r#"{"must":{"is_empty":{"key":"a","kye":1}}}"#.to_owned(), "an object with a key"),
            (r#"{"must":[{}]}"#.to_owned(), "a condition without"),
            (r#"{"must":[{"key":"a"}]}"#.to_owned(), "at least one field condition"),
            (r#"{"must":[{"key":"a","match":{"value":1.5}}]}"#.to_owned(), "a string, an integer or a bool"),
            (r#"{"must":[{"key":"a","match":{"any":["x",1]}}]}"#.to_owned(), "a list of strings"),
            (r#"{"must":[{"key":"a","match":{}}]}"#.to_owned(), "a match without"),
            (r#"{"must":[{"key":"a[","match":{"value":1}}]}"#.to_owned(), "bracket"),
            (r#"{"must":[{"has_id":["x"]}]}"#.to_owned(), "no point id"),
            (r#"{"min_should":{"conditions":[],"min_count":0}}"#.to_owned(), "1 or larger"),
            (r#"{"must":[{"slice":{"total":2,"index":2}}]}"#.to_owned(), "part 2 of 2"),
            (r#"{"must":[{"slice":{"total":0,"index":0}}]}"#.to_owned(), "slice.total: value 0"),
            (deep(17), "nested deeper than 16"),
            (deep(2000), "recursion limit"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(read(&deep(15)).is_ok());
    }
}
