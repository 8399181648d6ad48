//! Other names of collections.

use axum::routing::MethodFilter;
use nearline::AliasChange;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::Kind;
use crate::call::{Answer, Call, plain, write};
use crate::rights::Access;
use crate::table::Routes;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/aliases", plain(Kind::Search, MethodFilter::GET, list).says("All aliases"))
        .route(
            "/collections/{collection}/aliases",
            plain(Kind::Search, MethodFilter::GET, of_collection).says("The aliases of a collection"),
        )
        .route(
            "/collections/aliases",
            write(MethodFilter::POST, change)
                .needs(Access::Manage)
                .says("Sets, drops and renames aliases, in one step"),
        )
}

#[derive(Debug, Deserialize, JsonSchema)]
struct ChangesIn {
    actions: Vec<ActionIn>,
}

#[derive(Debug, Deserialize, JsonSchema)]
enum ActionIn {
    #[serde(rename = "create_alias")]
    Create { collection_name: String, alias_name: String },
    #[serde(rename = "delete_alias")]
    Delete { alias_name: String },
    #[serde(rename = "rename_alias")]
    Rename { old_alias_name: String, new_alias_name: String },
}

impl From<ActionIn> for AliasChange {
    fn from(action: ActionIn) -> Self {
        match action {
            ActionIn::Create { collection_name, alias_name } => {
                Self::Set { alias: alias_name, collection: collection_name }
            }
            ActionIn::Delete { alias_name } => Self::Drop { alias: alias_name },
            ActionIn::Rename { old_alias_name, new_alias_name } => {
                Self::Rename { from: old_alias_name, to: new_alias_name }
            }
        }
    }
}

/// All changes in one step.
fn change(call: &Call, request: ChangesIn) -> Answer<bool> {
    let changes: Vec<AliasChange> = request.actions.into_iter().map(Into::into).collect();
    call.app.database().change_aliases(&changes)?;
    Ok(true.into())
}

fn list(call: &Call) -> Answer<Value> {
    Ok(described(call, |_| true).into())
}

fn of_collection(call: &Call) -> Answer<Value> {
    let name = call.collection()?.name();
    Ok(described(call, |collection| collection == name).into())
}

fn described(call: &Call, is_wanted: impl Fn(&str) -> bool) -> Value {
    let aliases = call.app.database().aliases().into_iter();
    let wanted =
        aliases.filter(|(_, collection)| is_wanted(collection) && call.app.rights().may_read(collection));
    let aliases: Vec<Value> = wanted
        .map(|(alias, collection)| json!({ "alias_name": alias, "collection_name": collection }))
        .collect();
    json!({ "aliases": aliases })
}
