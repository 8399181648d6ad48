//! How the server is set up: defaults, over them a file, over that the environment.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use crate::log::{LogFormat, LogLevel};
use crate::secret::Secret;

/// What the names of environment variables begin with.
const PREFIX: &str = "NEARLINE_SERVE_";
/// Bytes of a key that tokens may be signed with.
const SIGNING_BYTES: usize = 32;

/// How the server listens, and how much it takes on at a time.
///
/// ```
/// use nearline_server::Config;
///
/// let config = Config::read("listen = '127.0.0.1:7000'", |_| None)?;
/// assert_eq!((config.listen.port(), config.body_bytes), (7000, 32 << 20));
/// # Ok::<(), nearline_server::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Address and port.
    pub listen: SocketAddr,
    /// Whether others than this machine may be listened to although nobody is asked for a key.
    pub insecure: bool,
    /// The key that allows everything; without one, everybody may do everything.
    pub api_key: Secret,
    /// The key that allows to read.
    pub read_only_api_key: Secret,
    /// Whether tokens (JWT, HS256) are taken that are signed with `api_key`.
    pub jwt: bool,
    /// The file of a certificate and those that vouch for it (PEM), and that of its key; without them, there is no TLS.
    pub tls_cert: String,
    /// The file of the certificate's key (PEM).
    pub tls_key: String,
    /// Origins of pages whose scripts may ask; `*` for all. Without any, there is no CORS.
    pub origins: Vec<String>,
    /// What lines of the log look like.
    pub log: LogFormat,
    /// Which lines there are.
    pub log_level: LogLevel,
    /// Seconds from which on a question is logged as slow.
    pub slow_seconds: f64,
    /// One question in so many is answered again, exactly, to measure the recall; 0 for none.
    pub recall_sample: usize,
    /// Threads that answer questions; 0 for as many as there are processors.
    pub search_threads: usize,
    /// Threads that write. Several of them share one sync.
    pub write_threads: usize,
    /// Requests that may wait before each kind of thread; others are told to come again (503).
    pub queue: usize,
    /// Connections at a time; others wait to be accepted.
    pub connections: usize,
    /// Requests at a time; others are told to come again (503).
    pub requests: usize,
    /// Bytes of a request's body (413).
    pub body_bytes: usize,
    /// Bytes of all bodies that are being read or worked on (503).
    pub bodies_bytes: usize,
    /// Bytes of the files of a snapshot that is uploaded (400).
    pub upload_bytes: usize,
    /// Points that one request may ask for when it wants payloads or vectors of them, too (400).
    pub points: usize,
    /// Seconds for the head of a request, and between two requests of a connection.
    pub head_seconds: f64,
    /// Seconds for agreeing on keys with a new connection.
    pub handshake_seconds: f64,
    /// Seconds in which a client must take something of an answer that waits for it.
    pub write_seconds: f64,
    /// Seconds for reading a request and answering it (408).
    pub request_seconds: f64,
    /// Seconds for requests under way when the server is stopped.
    pub stop_seconds: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 6333)),
            insecure: false,
            api_key: Secret::default(),
            read_only_api_key: Secret::default(),
            jwt: false,
            tls_cert: String::new(),
            tls_key: String::new(),
            origins: Vec::new(),
            log: LogFormat::Plain,
            log_level: LogLevel::Info,
            slow_seconds: 1.0,
            recall_sample: 1000,
            search_threads: 0,
            write_threads: 4,
            queue: 256,
            connections: 1024,
            requests: 512,
            body_bytes: 32 << 20,
            bodies_bytes: 256 << 20,
            upload_bytes: 64 << 30,
            points: 1 << 16,
            head_seconds: 30.0,
            handshake_seconds: 10.0,
            write_seconds: 30.0,
            request_seconds: 60.0,
            stop_seconds: 10.0,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {0}")]
pub struct ConfigError(String);

impl ConfigError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl Config {
    /// Reads TOML, and what the environment says in its place: `NEARLINE_SERVE_LISTEN` for `listen`, and so on.
    ///
    /// # Errors
    /// When it is no TOML, or has a name or a value that is not known.
    pub fn read(text: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let failed = |error: toml::de::Error| ConfigError(error.to_string());
        let mut table: toml::Table = text.parse().map_err(failed)?;
        let known = toml::Table::try_from(Self::default()).map_err(|error| ConfigError(error.to_string()))?;
        for (name, usual) in known {
            let variable = format!("{PREFIX}{}", name.to_uppercase());
            let Some(value) = environment(&variable) else { continue };
            let value = match usual {
                toml::Value::String(_) => Some(toml::Value::String(value.clone())),
                // Names with commas between them.
                toml::Value::Array(_) => {
                    let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
                    Some(names.map(toml::Value::from).collect::<Vec<_>>().into())
                }
                toml::Value::Boolean(_) => value.parse().map(toml::Value::Boolean).ok(),
                toml::Value::Integer(_) => value.parse().map(toml::Value::Integer).ok(),
                _ => value.parse().map(toml::Value::Float).ok(),
            }
            .ok_or_else(|| ConfigError(format!("{variable} is {value:?}; expected such as {usual}")))?;
            table.insert(name, value);
        }
        let config: Self = table.try_into().map_err(failed)?;
        config.check()?;
        Ok(config)
    }

    /// Refuses what the server cannot be run with.
    ///
    /// # Errors
    /// As [`ConfigError`] says.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_keys()?;
        self.check_origins()?;
        if self.tls_cert.is_empty() != self.tls_key.is_empty() {
            return Err(ConfigError::new("tls_cert or tls_key is missing; expected both, or neither"));
        }
        let counts = [
            ("write_threads", self.write_threads),
            ("queue", self.queue),
            ("connections", self.connections),
            ("requests", self.requests),
            ("body_bytes", self.body_bytes),
            ("points", self.points),
        ];
        if let Some((name, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(ConfigError(format!("{name} is 0; expected 1 at least")));
        }
        let most = u32::MAX as usize;
        if self.body_bytes > self.bodies_bytes || self.bodies_bytes > most {
            return Err(ConfigError(format!(
                "bodies_bytes is {}; expected body_bytes at least ({}), and {most} at most",
                self.bodies_bytes, self.body_bytes
            )));
        }
        let seconds = [
            ("head_seconds", self.head_seconds),
            ("handshake_seconds", self.handshake_seconds),
            ("write_seconds", self.write_seconds),
            ("slow_seconds", self.slow_seconds),
            ("request_seconds", self.request_seconds),
            ("stop_seconds", self.stop_seconds),
        ];
        match seconds.into_iter().find(|(_, value)| !(0.001..=1e6).contains(value)) {
            Some((name, value)) => Err(ConfigError(format!("{name} is {value}; expected 0.001 to 1e6"))),
            None => Ok(()),
        }
    }

    fn check_origins(&self) -> Result<(), ConfigError> {
        let is_one = |origin: &str| {
            let host = origin.split_once("://").map(|(_, host)| host);
            origin == "*"
                || host.is_some_and(|host| !host.is_empty() && !host.contains('/') && origin.is_ascii())
        };
        match self.origins.iter().find(|origin| !is_one(origin)) {
            Some(odd) => {
                Err(ConfigError(format!("origins has {odd:?}; expected such as https://example.org, or *")))
            }
            None => Ok(()),
        }
    }

    /// What says to browsers which pages may ask, if there are any.
    pub(crate) fn cors(&self) -> Option<CorsLayer> {
        let named = self.origins.iter().filter_map(|origin| origin.parse().ok());
        let allowed = match self.origins.as_slice() {
            [] => return None,
            all if all.iter().any(|origin| origin == "*") => AllowOrigin::any(),
            _ => AllowOrigin::list(named),
        };
        Some(CorsLayer::new().allow_origin(allowed).allow_methods(Any).allow_headers(Any))
    }

    fn check_keys(&self) -> Result<(), ConfigError> {
        let listen = self.listen;
        let keys = [("api_key", &self.api_key), ("read_only_api_key", &self.read_only_api_key)];
        let is_odd = |key: &Secret| !key.reveal().bytes().all(|byte| byte.is_ascii_graphic());
        if let Some((name, _)) = keys.into_iter().find(|(_, key)| is_odd(key)) {
            return Err(ConfigError(format!(
                "{name} has letters that a header cannot have; expected visible ASCII"
            )));
        }
        let wrong = if self.api_key.is_empty() && !self.read_only_api_key.is_empty() {
            "read_only_api_key is set, and api_key is not: nobody could write".to_owned()
        } else if self.jwt && self.api_key.reveal().len() < SIGNING_BYTES {
            format!(
                "jwt needs an api_key of {SIGNING_BYTES} letters or more: who has a token can guess at short ones"
            )
        } else if !listen.ip().is_loopback() && self.api_key.is_empty() && !self.insecure {
            format!(
                "{listen} can be reached from other machines, and nobody is asked for a key; expected an address of this \
                 machine, `api_key`, or `insecure`"
            )
        } else {
            return Ok(());
        };
        Err(ConfigError(wrong))
    }

    /// The configuration as it is used, in the form of its file; of keys only whether there are some.
    pub fn effective(&self) -> String {
        // All of it can be written as TOML.
        toml::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_goes_over_the_file_and_the_file_over_defaults() {
        let environment = |name: &str| match name {
            "NEARLINE_SERVE_QUEUE" => Some("7".to_owned()),
            "NEARLINE_SERVE_HEAD_SECONDS" => Some("2.5".to_owned()),
            "NEARLINE_SERVE_ORIGINS" => Some("https://a.org, https://b.org".to_owned()),
            "NEARLINE_SERVE_LOG" => Some("json".to_owned()),
            "NEARLINE_SERVE_INSECURE" => Some("true".to_owned()),
            "NEARLINE_SERVE_LISTEN" => Some("0.0.0.0:80".to_owned()),
            _ => None,
        };
        let config = Config::read("queue = 3\nrequests = 9\n", environment).unwrap();
        assert_eq!((config.queue, config.requests, config.head_seconds), (7, 9, 2.5));
        assert_eq!(config.listen.to_string(), "0.0.0.0:80");
        assert_eq!((config.origins.len(), config.log), (2, LogFormat::Json));
        assert_eq!(Config::read(&config.effective(), |_| None).unwrap(), config);
    }

    #[test]
    fn keys_let_others_in_and_are_never_shown() {
        let text = "listen = '0.0.0.0:6333'\napi_key = 'sesame'";
        let environment =
            |name: &str| (name == "NEARLINE_SERVE_READ_ONLY_API_KEY").then(|| "peep".to_owned());
        let config = Config::read(text, environment).unwrap();
        assert_eq!((config.api_key.reveal(), config.read_only_api_key.reveal()), ("sesame", "peep"));
        let shown = format!("{} {config:?}", config.effective());
        assert!(!shown.contains("sesame") && !shown.contains("peep"), "{shown}");
        assert!(config.effective().contains("api_key = \"********\""), "{}", config.effective());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let wrong = [
            "listen = '0.0.0.0:6333'",
            "listen = 'nowhere'",
            "read_only_api_key = 'r'",
            "api_key = 'a b'",
            "jwt = true",
            "tls_cert = 'x.pem'",
            "origins = ['example.org']",
            "origins = ['https://example.org/']",
            "log = 'loud'",
            "slow_seconds = 0",
            "jwt = true\napi_key = 'short'",
            "queue = -1",
            "queue = 0",
            "colour = 'red'",
            "body_bytes = 1000000000",
            "bodies_bytes = 100000000000",
            "head_seconds = nan",
            "= 3",
        ];
        for text in wrong {
            assert!(Config::read(text, |_| None).is_err(), "{text}");
        }
        let error = Config::read("", |name| name.ends_with("QUEUE").then(|| "many".to_owned())).unwrap_err();
        assert!(error.to_string().contains("NEARLINE_SERVE_QUEUE"), "{error}");
    }
}
