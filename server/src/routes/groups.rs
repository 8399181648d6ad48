//! Points in groups, by the values of a field.

use axum::routing::MethodFilter;
use nearline::{Collection, Groups, PointId, Value};
use schemars::JsonSchema;
use serde::Serialize;

use super::query::{Asked, scored, with_usage};
use crate::call::{Answer, Call, read};
use crate::error::ApiError;
use crate::json::payload::{WithPayload, WithVector};
use crate::json::point::{Record, Scored};
use crate::json::query::{GroupsIn, OlderRecommend, OlderSearch, QueryIn, WithLookupIn};
use crate::table::Routes;

/// Points of a group unless told otherwise.
const SIZE: usize = 3;

pub(super) fn routes() -> Routes {
    let path = |rest: &str| format!("/collections/{{collection}}/points/{rest}/groups");
    let post = MethodFilter::POST;
    Routes::new()
        .route(path("query"), read(post, groups::<QueryIn>).says("The best points of each value of a field"))
        .route(
            path("search"),
            read(post, groups::<OlderSearch>).says("The nearest of each value of a field, in the older form"),
        )
        .route(
            path("recommend"),
            read(post, groups::<OlderRecommend>).says("Points like examples by value, in the older form"),
        )
}

#[derive(Debug, Serialize, JsonSchema)]
struct GroupsOut {
    groups: Vec<GroupOut>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct GroupOut {
    #[schemars(with = "serde_json::Value")]
    id: Value,
    hits: Vec<Scored>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lookup: Option<Record>,
}

fn groups<Q: Into<QueryIn>>(call: &Call, request: GroupsIn<Q>) -> Answer<GroupsOut> {
    let collection = call.source()?;
    let size = request.group_size.unwrap_or(SIZE);
    if request.group_by.is_empty() {
        return Err(ApiError::invalid("group_by", "\"\"", "must have at least one character"));
    }
    let lookup = request.with_lookup.map(|lookup| Lookup::read(call, lookup)).transpose()?;
    let Asked { query, wanted } = Asked::of_groups(call, &collection, request.query.into(), size)?;
    let groups = Groups::by(request.group_by, query).limit(wanted.limit).size(size);
    let answer = collection.query_groups(&groups)?;
    let group = |group: nearline::PointGroup| {
        let lookup = lookup.as_ref().map_or(Ok(None), |lookup| lookup.find(&group.value))?;
        Ok(GroupOut { hits: scored(group.hits, &wanted), id: group.value, lookup })
    };
    let groups = answer.groups.into_iter().map(group).collect::<Result<_, ApiError>>()?;
    Ok(with_usage(GroupsOut { groups }, &[answer.report]))
}

/// Where the points are whose ids are the values of groups, and what of them is wanted.
struct Lookup {
    from: Collection,
    payload: WithPayload,
    vector: WithVector,
}

impl Lookup {
    fn read(call: &Call, lookup: WithLookupIn) -> Result<Self, ApiError> {
        let (name, payload, vector) = match lookup {
            WithLookupIn::Name(name) => (name, None, None),
            WithLookupIn::Full { collection, with_payload, with_vectors } => {
                (collection, with_payload, with_vectors)
            }
        };
        let from = call.app.collection(&name)?;
        let payload = payload.unwrap_or(WithPayload::All(true));
        let vector = vector.unwrap_or(WithVector::All(false));
        vector.check(from.schema())?;
        Ok(Self { from, payload, vector })
    }

    /// The point whose id is a value, if there is one.
    fn find(&self, value: &Value) -> Result<Option<Record>, ApiError> {
        let id = match value {
            Value::String(text) => text.parse::<PointId>().ok(),
            other => other.as_number().and_then(|number| number.as_u64()).map(PointId::from),
        };
        let Some(id) = id else { return Ok(None) };
        let point = match self.vector.wants_any() {
            true => self.from.get([id])?.pop(),
            false => self.from.get_payloads([id])?.pop(),
        };
        Ok(point.map(|point| Record::new(point, &self.payload, &self.vector)))
    }
}
