//! Snapshots as archives.

use std::collections::BTreeMap;
use std::io::Read;

use axum::http::Request;
use serde_json::{Value, json};

use crate::support::{Answer, Server, answer};

#[test]
fn snapshots_are_kept_listed_downloaded_and_dropped() {
    let server = Server::with_points("Dot");
    let path = "/collections/c/snapshots";
    let (first, second) = (server.send("POST", path, "").result(), server.send("POST", path, "").result());
    assert_ne!(first["name"], second["name"]);
    assert!(first["size"].as_u64().unwrap() > 0);
    let time = first["creation_time"].as_str().unwrap();
    assert!(time.len() == "2024-02-29T12:34:56".len() && time.contains('T'), "{time}");
    assert_eq!(server.get(path).result(), json!([first, second]));

    let one = format!("{path}/{}", first["name"].as_str().unwrap());
    let archive = server.get(&one);
    assert_eq!(archive.headers["content-type"], "application/x-tar");
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(archive.bytes.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(name, bytes);
    }
    assert!(files.contains_key("COLLECTION") && files.contains_key("METADATA"), "{:?}", files.keys());
    let bytes: usize = files.values().map(Vec::len).sum();
    assert_eq!(first["size"].as_u64().unwrap(), bytes as u64);

    assert_eq!(server.send("DELETE", &one, "").result(), json!(true));
    assert_eq!(server.send("DELETE", &one, "").status.as_u16(), 404);
    assert_eq!(server.get(&one).status.as_u16(), 404);
    assert_eq!(server.get(path).result(), json!([second]));
    let recover = server.put(&format!("{path}/recover"), json!({ "location": "file:///etc/passwd" }));
    assert_eq!(recover.status.as_u16(), 404);
}

const BOUNDARY: &str = "xxxxBOUNDARYxxxx";

fn upload(server: &Server, collection: &str, archive: &[u8]) -> Answer {
    upload_with(server, collection, "", archive)
}

fn upload_with(server: &Server, collection: &str, query: &str, archive: &[u8]) -> Answer {
    let head = format!(
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"snapshot\"; filename=\"s.tar\"\r\n\r\n"
    );
    let body = [head.as_bytes(), archive, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat();
    let request = Request::builder()
        .method("POST")
        .uri(format!("/collections/{collection}/snapshots/upload{query}"))
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
    server.runtime().block_on(answer(server.router(), request.body(body.into()).unwrap()))
}

fn count(server: &Server, collection: &str) -> Value {
    server.post(&format!("/collections/{collection}/points/count"), json!({})).result()["count"].clone()
}

#[test]
fn collections_are_made_anew_of_snapshots_here_and_of_archives() {
    let server = Server::with_points("Dot");
    let alias = json!({ "create_alias": { "collection_name": "c", "alias_name": "also" } });
    server.post("/collections/aliases", json!({ "actions": [alias] })).result();
    let made = server.send("POST", "/collections/c/snapshots", "").result();
    let name = made["name"].as_str().unwrap();
    let archive = server.get(&format!("/collections/c/snapshots/{name}")).bytes;
    server.post("/collections/c/points/delete", json!({ "points": [1, 2, 3] })).result();
    assert_eq!(count(&server, "c"), json!(1));

    let location = json!({ "location": format!("file:///c/{name}") });
    assert_eq!(server.put("/collections/also/snapshots/recover", location.clone()).result(), json!(true));
    assert_eq!((count(&server, "c"), count(&server, "also")), (json!(4), json!(4)));
    assert_eq!(server.get("/collections/c/snapshots").result()[0]["name"], name, "snapshots stay");
    assert_eq!(server.put("/collections/new/snapshots/recover", location).result(), json!(true));

    server.post("/collections/c/points/delete", json!({ "points": [1, 2] })).result();
    assert_eq!(upload(&server, "c", &archive).result(), json!(true));
    assert_eq!(upload(&server, "other", &archive).result(), json!(true));
    for collection in ["c", "new", "other"] {
        assert_eq!(count(&server, collection), json!(4), "{collection}");
        let point = json!({ "points": [{ "id": 99, "vector": [1, 2] }] });
        server.put(&format!("/collections/{collection}/points?wait=true"), point).result();
        let verified = server.post(&format!("/nearline/v1/collections/{collection}/verify"), json!({}));
        assert_eq!(verified.result(), json!(true), "{collection}");
    }
    let elsewhere = Server::start();
    assert_eq!(upload(&elsewhere, "c", &archive).result(), json!(true));
    assert_eq!(count(&elsewhere, "c"), json!(4));
}

#[test]
fn snapshots_of_all_there_is_are_databases() {
    let server = Server::with_points("Dot");
    server.put("/collections/d", json!({ "vectors": { "size": 2, "distance": "Dot" } })).result();
    let alias = json!({ "create_alias": { "collection_name": "c", "alias_name": "also" } });
    server.post("/collections/aliases", json!({ "actions": [alias] })).result();
    let (first, second) =
        (server.send("POST", "/snapshots", "").result(), server.send("POST", "/snapshots", "").result());
    assert_eq!(server.get("/snapshots").result(), json!([first, second]));
    let one = format!("/snapshots/{}", first["name"].as_str().unwrap());
    let archive = server.get(&one);
    assert_eq!(archive.headers["content-type"], "application/x-tar");
    server.post("/collections/c/points/delete", json!({ "points": [1] })).result();

    let folder = tempfile::tempdir().unwrap();
    let (file, to) = (folder.path().join("all.tar"), folder.path().join("db"));
    std::fs::write(&file, &archive.bytes).unwrap();
    nearline_server::restore_storage(&file, &to).unwrap();
    assert!(nearline_server::restore_storage(&file, &to).is_err(), "over another");
    let database = nearline::Database::builder(&to).open().unwrap();
    assert_eq!(database.collections(), ["c", "d"]);
    assert_eq!(database.collection("also").unwrap().count(None).unwrap(), 4);
    // Unpacked by anybody else, it is one, too.
    let other = folder.path().join("other");
    tar::Archive::new(archive.bytes.as_slice()).unpack(&other).unwrap();
    assert_eq!(nearline::Database::builder(&other).open().unwrap().collections(), ["c", "d"]);

    for hostile in [
        Vec::new(),
        with_name("a", tar::EntryType::Regular),
        with_name("COLLECTION", tar::EntryType::Regular),
        with_name("a/../../evil", tar::EntryType::Regular),
        with_name("a/b/c", tar::EntryType::Regular),
        with_name("/a", tar::EntryType::Regular),
        with_name("a", tar::EntryType::Symlink),
        archive.bytes[..archive.bytes.len() / 2].to_vec(),
        b"no archive".to_vec(),
    ] {
        std::fs::write(&file, &hostile).unwrap();
        assert!(nearline_server::restore_storage(&file, &folder.path().join("evil")).is_err());
        assert!(!folder.path().join("evil").exists());
    }
    assert_eq!(server.send("DELETE", &one, "").result(), json!(true));
    assert_eq!(server.send("DELETE", &one, "").status.as_u16(), 404);
    assert_eq!(server.get(&one).status.as_u16(), 404);
    assert_eq!(server.get("/snapshots").result(), json!([second]));
}

#[test]
fn checksums_are_held_against_what_comes() {
    let server = Server::with_points("Dot");
    let made = server.send("POST", "/collections/c/snapshots", "").result();
    let name = made["name"].as_str().unwrap();
    let archive = server.get(&format!("/collections/c/snapshots/{name}")).bytes;
    let digest = ring::digest::digest(&ring::digest::SHA256, &archive);
    let right: String = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    let wrong = right.replace('A', "B").replace('1', "2");
    let query = |checksum: &str| format!("?checksum={checksum}&priority=snapshot");
    assert_eq!(upload_with(&server, "new", &query(&right), &archive).result(), json!(true));
    let refused = upload_with(&server, "newer", &query(&wrong), &archive);
    assert!(refused.status.as_u16() == 400 && refused.error().contains("checksum"), "{refused:?}");
    assert_eq!(upload_with(&server, "newer", "?priority=first", &archive).status.as_u16(), 400);
    let recover = |checksum: &str, priority: &str| {
        let location = format!("file:///c/{name}");
        let body = json!({ "location": location, "checksum": checksum, "priority": priority });
        server.put("/collections/c/snapshots/recover", body)
    };
    assert_eq!(recover(&right, "no_sync").result(), json!(true));
    assert_eq!(recover(&wrong, "replica").status.as_u16(), 400);
    assert_eq!(recover(&right, "first").status.as_u16(), 400);
    let names = json!({ "collections": [{ "name": "c" }, { "name": "new" }] });
    assert_eq!(server.get("/collections").result(), names);
    assert_eq!(count(&server, "c"), json!(4));
}

#[test]
fn locations_lead_nowhere_else() {
    let server = Server::with_points("Dot");
    for location in [
        "file:///etc/passwd",
        "file:///../../etc/passwd",
        "file:///c/../../../etc",
        "file:///c/never",
        "file://c/never",
        "http://127.0.0.1/x",
        "s3://bucket/x",
        "",
        "/etc/passwd",
    ] {
        let refused = server.put("/collections/c/snapshots/recover", json!({ "location": location }));
        assert!([400, 404].contains(&refused.status.as_u16()), "{location}: {refused:?}");
        assert!(!refused.error().contains("root:"), "{refused:?}");
    }
    assert_eq!(count(&server, "c"), json!(4));
}

/// An archive with one entry whose name stands in it as it is.
fn with_name(name: &str, kind: tar::EntryType) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(4);
    header.set_mode(0o644);
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append(&header, b"evil".as_slice()).unwrap();
    archive.into_inner().unwrap()
}

#[test]
fn hostile_archives_are_refused_and_leave_nothing() {
    let server = Server::with_points("Dot");
    let made = server.send("POST", "/collections/c/snapshots", "").result();
    let good = server.get(&format!("/collections/c/snapshots/{}", made["name"].as_str().unwrap())).bytes;
    let file = tar::EntryType::Regular;
    let mut hostile: Vec<Vec<u8>> =
        ["../evil", "/evil", "a/b", "..", ".hidden", "a\0b/../c", "a b", "\u{1b}[31m"]
            .iter()
            .map(|name| with_name(name, file))
            .collect();
    let kinds = [
        tar::EntryType::Symlink,
        tar::EntryType::Link,
        tar::EntryType::Directory,
        tar::EntryType::Char,
        tar::EntryType::Fifo,
        tar::EntryType::GNULongName,
        tar::EntryType::XHeader,
        tar::EntryType::GNUSparse,
    ];
    hostile.extend(kinds.map(|kind| with_name("COLLECTION", kind)));
    hostile.extend([Vec::new(), b"no archive".to_vec(), vec![0xff; 4096], with_name("COLLECTION", file)]);
    hostile.push([&good[..good.len() - 1024], good.as_slice()].concat());
    hostile.extend((1..20).map(|part| good[..good.len() * part / 20].to_vec()));
    for part in 0..40 {
        let mut flipped = good.clone();
        let at = flipped.len() * part / 40 + 300;
        if flipped[at] == 0 {
            continue;
        }
        flipped[at] ^= 0x55;
        hostile.push(flipped);
    }
    for (number, archive) in hostile.iter().enumerate() {
        let refused = upload(&server, "fresh", archive);
        assert_eq!(refused.status.as_u16(), 400, "{number}: {refused:?}");
        refused.error();
        assert!(!std::path::Path::new("/evil").exists());
    }
    assert_eq!(server.get("/collections").result(), json!({ "collections": [{ "name": "c" }] }));
    assert_eq!(count(&server, "c"), json!(4));
    let small = Server::with("upload_bytes = 1000");
    let refused = upload(&small, "c", &good);
    assert!(refused.status.as_u16() == 400 && refused.error().contains("1000 bytes"), "{refused:?}");
}
