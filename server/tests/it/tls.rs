//! Connections that nobody listens in on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::listening::{Listening, is_closed, status, upsert};

fn client(trusted: CertificateDer<'static>, stream: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream)
}

#[test]
fn who_trusts_the_certificate_is_answered_and_nobody_else_holds_anything_up() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let settings =
        format!("tls_cert = '{}'\ntls_key = '{}'\nhandshake_seconds = 0.3", cert.display(), key.display());
    let server = Listening::start(&settings);
    let mut silent = server.connect();
    let mut plain = server.connect();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut stream = client(made.cert.der().clone(), server.connect());
    for round in 0..3 {
        stream.write_all(upsert(round * 10..round * 10 + 10).as_bytes()).unwrap();
        assert_eq!(status(&mut stream), 200);
    }
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut distrusting = client(other.cert.der().clone(), server.connect());
    assert!(distrusting.write_all(b"GET / HTTP/1.1\r\n\r\n").is_err() || distrusting.read(&mut [0]).is_err());
    assert!(is_closed(&mut silent) && is_closed(&mut plain));
    drop(stream);
    let (database, _folder) = server.stop();
    assert_eq!(database.collection("c").unwrap().count(None).unwrap(), 30);
}

#[test]
fn files_that_are_none_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("odd.pem");
    std::fs::write(&file, "nothing of the kind").unwrap();
    let database =
        nearline::Database::builder(folder.path().join("db")).memory_budget(32 << 20).open().unwrap();
    let settings = format!("tls_cert = '{0}'\ntls_key = '{0}'\nlisten = '127.0.0.1:0'", file.display());
    let config = nearline_server::Config::read(&settings, |_| None).unwrap();
    let never = || Ok(std::future::ready(()));
    let error = nearline_server::serve_until(database, &config, |_| (), never).unwrap_err();
    assert!(error.to_string().contains("odd.pem"), "{error}");
}
