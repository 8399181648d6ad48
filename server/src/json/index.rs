//! Field indexes: their types and options.

use nearline::{FieldIndex, FieldType, TextOptions, Tokenizer};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::ApiError;

/// A field, and what sort of index it gets.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct CreateIndexIn {
    pub(crate) field_name: String,
    #[serde(alias = "field_type")]
    field_schema: Option<SchemaIn>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected the name of a type, or an object {type, …}")]
enum SchemaIn {
    Type(TypeIn),
    Params(Box<ParamsIn>),
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum TypeIn {
    Keyword,
    Integer,
    Float,
    Geo,
    Text,
    Bool,
    Datetime,
    Uuid,
}

/// Options of all types. Those that only say where an index lies say nothing here.
#[derive(Debug, Deserialize, JsonSchema)]
struct ParamsIn {
    r#type: TypeIn,
    tokenizer: Option<TokenizerIn>,
    lowercase: Option<bool>,
    min_token_len: Option<usize>,
    max_token_len: Option<usize>,
    ascii_folding: Option<bool>,
    stopwords: Option<Value>,
    stemmer: Option<Value>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum TokenizerIn {
    Prefix,
    Whitespace,
    Word,
    Multilingual,
}

impl CreateIndexIn {
    /// The type of the library.
    pub(crate) fn field_type(&self) -> Result<FieldType, ApiError> {
        let missing = || ApiError::bad_request("`field_schema` is missing: a type cannot be guessed");
        Ok(match self.field_schema.as_ref().ok_or_else(missing)? {
            SchemaIn::Type(kind) => kind.field_type(TextOptions::default()),
            SchemaIn::Params(params) => params.r#type.field_type(params.text_options()?),
        })
    }
}

impl TypeIn {
    fn field_type(self, text: TextOptions) -> FieldType {
        match self {
            Self::Keyword => FieldType::Keyword,
            Self::Integer => FieldType::Integer,
            Self::Float => FieldType::Float,
            Self::Geo => FieldType::Geo,
            Self::Text => FieldType::Text(text),
            Self::Bool => FieldType::Bool,
            Self::Datetime => FieldType::Datetime,
            Self::Uuid => FieldType::Uuid,
        }
    }
}

impl ParamsIn {
    fn text_options(&self) -> Result<TextOptions, ApiError> {
        let is_none = |value: &Option<Value>| value.as_ref().is_none_or(|value| value == "none");
        if self.ascii_folding == Some(true) {
            return Err(ApiError::unsupported("ascii_folding of a text index"));
        }
        if self.stopwords.is_some() || !is_none(&self.stemmer) {
            return Err(ApiError::unsupported("stopwords and stemmers of a text index"));
        }
        let usual = TextOptions::default();
        let tokenizer = match self.tokenizer {
            None => usual.tokenizer,
            Some(TokenizerIn::Prefix) => Tokenizer::Prefix,
            Some(TokenizerIn::Whitespace) => Tokenizer::Whitespace,
            Some(TokenizerIn::Word) => Tokenizer::Word,
            Some(TokenizerIn::Multilingual) => Tokenizer::Multilingual,
        };
        Ok(TextOptions {
            tokenizer,
            lowercase: self.lowercase.unwrap_or(usual.lowercase),
            min_token_len: self.min_token_len,
            max_token_len: self.max_token_len,
        })
    }
}

/// A field index as a collection shows it.
pub(crate) fn described(index: &FieldIndex) -> Value {
    let mut described = json!({ "data_type": type_name(index.field_type), "points": index.points });
    if let FieldType::Text(options) = index.field_type {
        described["params"] = json!({
            "type": "text",
            "tokenizer": match options.tokenizer {
                Tokenizer::Prefix => "prefix",
                Tokenizer::Whitespace => "whitespace",
                Tokenizer::Multilingual => "multilingual",
                _ => "word",
            },
            "lowercase": options.lowercase,
            "min_token_len": options.min_token_len,
            "max_token_len": options.max_token_len,
        });
    }
    described
}

fn type_name(field_type: FieldType) -> &'static str {
    match field_type {
        FieldType::Integer => "integer",
        FieldType::Float => "float",
        FieldType::Bool => "bool",
        FieldType::Datetime => "datetime",
        FieldType::Uuid => "uuid",
        FieldType::Geo => "geo",
        FieldType::Text(_) => "text",
        _ => "keyword",
    }
}
