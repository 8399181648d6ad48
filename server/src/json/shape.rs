//! What JSON looks like that is read or written by hand: types that nobody makes, for the document of all routes.

use schemars::JsonSchema;

/// The id of a point: a number, or a UUID.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its shape is asked for")]
pub(crate) enum Id {
    Number(u64),
    Uuid(#[schemars(extend("format" = "uuid"))] String),
}

/// An object of any members.
pub(crate) type Object = serde_json::Map<String, serde_json::Value>;

/// Gives a type the shape of another one, under a name.
macro_rules! shaped {
    ($type:ty, $name:literal, $shape:ty) => {
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <$shape>::json_schema(generator)
            }
        }
    };
}

pub(crate) use shaped;
