//! Who may come in: keys, and tokens signed with one.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, header};
use ring::{digest, hmac};
use subtle::{Choice, ConstantTimeEq};

use crate::config::Config;
use crate::error::ApiError;
use crate::rights::Rights;
use crate::secret::Secret;
use crate::token::{self, Granted};

/// The keys of a configuration. They are kept as digests, which all have one length: comparing takes the same time whatever is
/// sent.
pub(crate) struct Keys {
    full: Option<[u8; digest::SHA256_OUTPUT_LEN]>,
    read_only: Option<[u8; digest::SHA256_OUTPUT_LEN]>,
    signing: Option<hmac::Key>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("any", &self.any()).finish_non_exhaustive()
    }
}

impl Keys {
    pub(crate) fn of(config: &Config) -> Self {
        let digested = |secret: &Secret| (!secret.is_empty()).then(|| digested(secret.reveal()));
        let signing =
            config.jwt.then(|| hmac::Key::new(hmac::HMAC_SHA256, config.api_key.reveal().as_bytes()));
        Self { full: digested(&config.api_key), read_only: digested(&config.read_only_api_key), signing }
    }

    fn any(&self) -> bool {
        self.full.is_some() || self.read_only.is_some()
    }

    /// What the sender of a request may do. Without keys, everybody everything.
    ///
    /// # Errors
    /// 401 without a key or with a wrong one.
    pub(crate) fn rights(&self, headers: &HeaderMap) -> Result<Granted, ApiError> {
        let always = |rights| Ok(Granted { rights, value_exists: None });
        if !self.any() {
            return always(Rights::Manage);
        }
        let sent = sent(headers).ok_or_else(|| {
            ApiError::unauthorized("Must provide an API key or an Authorization bearer token")
        })?;
        let of_sent = digested(sent);
        // Both are always compared.
        let (full, read_only) = (is_same(&self.full, &of_sent), is_same(&self.read_only, &of_sent));
        if full.into() {
            return always(Rights::Manage);
        }
        if read_only.into() {
            return always(Rights::Read);
        }
        match &self.signing {
            Some(key) => token::rights(sent, key, now()),
            None => Err(ApiError::unauthorized("Invalid API key or JWT")),
        }
    }
}

fn digested(word: &str) -> [u8; digest::SHA256_OUTPUT_LEN] {
    let mut out = [0; digest::SHA256_OUTPUT_LEN];
    out.copy_from_slice(digest::digest(&digest::SHA256, word.as_bytes()).as_ref());
    out
}

fn is_same(key: &Option<[u8; digest::SHA256_OUTPUT_LEN]>, sent: &[u8; digest::SHA256_OUTPUT_LEN]) -> Choice {
    match key {
        Some(key) => key.ct_eq(sent),
        None => Choice::from(0),
    }
}

fn sent(headers: &HeaderMap) -> Option<&str> {
    if let Some(key) = headers.get("api-key") {
        return key.to_str().ok();
    }
    let (scheme, word) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(word.trim())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
