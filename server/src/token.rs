//! JSON web tokens: HMAC with SHA-256 and nothing else, so that nobody can choose a weaker algorithm.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nearline::{Condition, Filter};
use ring::hmac;
use serde::{Deserialize, de::IgnoredAny};

use crate::error::ApiError;
use crate::rights::Rights;

/// Seconds that clocks may differ.
const LEEWAY: u64 = 30;
/// Bytes of a token.
const TOKEN_BYTES: usize = 16 << 10;

#[derive(Deserialize)]
struct Header {
    alg: String,
    crit: Option<IgnoredAny>,
}

/// What a token says. A claim of another type makes it invalid, one that would narrow it and is not known here, too.
#[derive(Deserialize)]
struct Claims {
    exp: Option<u64>,
    nbf: Option<u64>,
    #[serde(default)]
    access: Access,
    value_exists: Option<ValueExists>,
}

/// Points that must be there for a token to be valid: one for each collection that has all these values.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct ValueExists {
    /// The collection, by its name or an alias.
    pub(crate) collection: String,
    matches: Vec<Match>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Match {
    key: String,
    value: Scalar,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(untagged)]
enum Scalar {
    Bool(bool),
    Integer(i64),
    Keyword(String),
}

impl ValueExists {
    /// What such a point is like.
    pub(crate) fn filter(&self) -> Filter {
        Filter::must(self.matches.iter().map(|Match { key, value }| match value {
            Scalar::Bool(value) => Condition::matches(key, *value),
            Scalar::Integer(value) => Condition::matches(key, *value),
            Scalar::Keyword(value) => Condition::matches(key, value.as_str()),
        }))
    }
}

/// What a token allows, and what must hold for it to be valid.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Granted {
    pub(crate) rights: Rights,
    pub(crate) value_exists: Option<ValueExists>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "access: expected \"m\", \"r\" or a list of collections")]
enum Access {
    Global(Global),
    Collections(Vec<OfCollection>),
}

impl Default for Access {
    fn default() -> Self {
        Self::Global(Global::Manage)
    }
}

#[derive(Deserialize)]
enum Global {
    #[serde(rename = "r")]
    Read,
    #[serde(rename = "m")]
    Manage,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfCollection {
    collection: String,
    access: Mode,
}

#[derive(Deserialize)]
enum Mode {
    #[serde(rename = "r")]
    Read,
    #[serde(rename = "rw")]
    ReadWrite,
}

/// What a token allows at a moment, in seconds since 1970.
///
/// # Errors
/// 401 for what is no token of ours, or none any more.
pub(crate) fn rights(token: &str, key: &hmac::Key, now: u64) -> Result<Granted, ApiError> {
    let invalid = || ApiError::unauthorized("Invalid API key or JWT");
    if token.len() > TOKEN_BYTES {
        return Err(invalid());
    }
    let (signed, signature) = token.rsplit_once('.').ok_or_else(invalid)?;
    let (header, claims) = signed.split_once('.').ok_or_else(invalid)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| invalid());
    hmac::verify(key, signed.as_bytes(), &decode(signature)?).map_err(|_| invalid())?;
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| invalid())?;
    if header.alg != "HS256" || header.crit.is_some() {
        return Err(invalid());
    }
    let claims: Claims = serde_json::from_slice(&decode(claims)?)
        .map_err(|error| ApiError::unauthorized(format_args!("Invalid JWT: {error}")))?;
    if claims.exp.is_some_and(|exp| exp.saturating_add(LEEWAY) < now) {
        return Err(ApiError::unauthorized("Invalid JWT: it has expired"));
    }
    if claims.nbf.is_some_and(|nbf| nbf > now.saturating_add(LEEWAY)) {
        return Err(ApiError::unauthorized("Invalid JWT: it is not valid yet"));
    }
    Ok(Granted { rights: claims.access.into(), value_exists: claims.value_exists })
}

impl From<Access> for Rights {
    fn from(access: Access) -> Self {
        match access {
            Access::Global(Global::Manage) => Self::Manage,
            Access::Global(Global::Read) => Self::Read,
            Access::Collections(all) => {
                let mut some = BTreeMap::new();
                for OfCollection { collection, access } in all {
                    *some.entry(collection).or_default() |= matches!(access, Mode::ReadWrite);
                }
                Self::Some(Arc::new(some))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn key(word: &str) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, word.as_bytes())
    }

    fn sign(header: &Value, claims: &Value, key: &hmac::Key) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(key, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn read(claims: Value) -> Result<Rights, u16> {
        let token = sign(&json!({ "alg": "HS256", "typ": "JWT" }), &claims, &key("k"));
        let granted = rights(&token, &key("k"), 1_000).map_err(|error| error.status().as_u16());
        granted.map(|granted| granted.rights)
    }

    #[test]
    fn a_token_made_elsewhere_is_understood() {
        // That of RFC 7515, appendix A.1, has claims of other types of ours: only its signature counts here.
        let secret = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0\
                     dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(rights(token, &key, 1_300_819_380).map(|granted| granted.rights), Ok(Rights::Manage));
        assert!(rights(token, &key, 1_300_819_411).unwrap_err().to_string().contains("expired"));
    }

    #[test]
    fn claims_are_kept() {
        assert_eq!(read(json!({})), Ok(Rights::Manage));
        assert_eq!(read(json!({ "access": "m", "exp": 970 })), Ok(Rights::Manage));
        assert_eq!(read(json!({ "access": "r", "sub": "me" })), Ok(Rights::Read));
        let some = BTreeMap::from([("a".to_owned(), false), ("b".to_owned(), true)]);
        let of = |collection, access| json!({ "collection": collection, "access": access });
        let claims = json!({ "access": [of("a", "r"), of("b", "rw"), of("b", "r")] });
        assert_eq!(read(claims), Ok(Rights::Some(Arc::new(some))));
        assert_eq!(read(json!({ "access": [] })), Ok(Rights::none()));
        for (claims, status) in [
            (json!({ "exp": 969 }), 401),
            (json!({ "exp": "1e9" }), 401),
            (json!({ "exp": -1 }), 401),
            (json!({ "nbf": 1_031 }), 401),
            (json!({ "access": "w" }), 401),
            (json!({ "access": null }), 401),
            (json!({ "access": [{ "collection": "a", "access": "m" }] }), 401),
            (json!({ "access": [{ "collection": "a", "access": "r", "payload": { "user": 1 } }] }), 401),
            (json!({ "value_exists": { "collection": "a" } }), 401),
            (
                json!({ "value_exists": { "collection": "a", "matches": [{ "key": "a", "value": 1.5 }] } }),
                401,
            ),
            (json!({ "value_exists": { "collection": "a", "matches": [], "other": 1 } }), 401),
            (json!([]), 401),
            (json!("x"), 401),
        ] {
            assert_eq!(read(claims.clone()), Err(status), "{claims}");
        }
    }

    #[test]
    fn what_was_not_signed_so_is_refused() {
        let claims = json!({ "access": "m" });
        let good = sign(&json!({ "alg": "HS256" }), &claims, &key("k"));
        assert!(rights(&good, &key("k"), 0).is_ok());
        let mut wrong = vec![
            sign(&json!({ "alg": "HS256" }), &claims, &key("other")),
            sign(&json!({ "alg": "none" }), &claims, &key("k")),
            sign(&json!({ "alg": "HS512" }), &claims, &key("k")),
            sign(&json!({ "alg": "HS256", "crit": ["x"] }), &claims, &key("k")),
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            "a.b.c".to_owned(),
            format!("{good}."),
            good.rsplit_once('.').unwrap().0.to_owned() + ".",
            "x".repeat(1 << 20),
        ];
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            wrong.push(String::from_utf8(bytes).unwrap());
        }
        for token in wrong {
            let error = rights(&token, &key("k"), 0).unwrap_err();
            assert_eq!(error.status().as_u16(), 401, "{token}");
        }
    }
}
