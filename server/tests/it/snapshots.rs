//! Snapshots as archives.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::json;

use crate::support::Server;

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
    assert_eq!(recover.status.as_u16(), 400);
}
