//! Embedding tables: every route, by JSON and by bytes; what is odd about a request.

use serde_json::{Value, json};

use crate::support::{BARE, NPY, Server, bytes, numbers, send};

fn of(rest: &str) -> String {
    format!("/nearline/v1/tables/t{rest}")
}

/// Row `i` is `[i, i + 0.25, -i]`.
fn rows() -> Vec<[f32; 3]> {
    (0..20).map(|i| i as f32).map(|i| [i, i + 0.25, -i]).collect()
}

/// A table `t` of twenty plain rows.
fn fitted() -> Server {
    let server = Server::start();
    let fit = json!({ "rows": rows(), "method": "float", "budget": 240 });
    let made = server.post(&of("/fit"), fit).result();
    assert_eq!((&made["version"], &made["rows"], &made["bytes"]), (&json!(0), &json!(20), &json!(240)));
    server
}

#[test]
fn rows_may_lie_by_frequency() {
    let server = Server::start();
    let fit = |method: &str, frequencies: Value| {
        let (budget, by_frequency) = (400, true);
        server.post(
            &of("/fit"),
            json!({
                "rows": rows(), "method": method, "budget": budget,
                "frequencies": frequencies, "by_frequency": by_frequency,
            }),
        )
    };
    let frequencies: Vec<u64> = (0..20).map(|id| id * 7 % 20).collect();
    for (method, frequencies, expected) in [
        ("float", Value::Null, "without frequencies"),
        ("float", json!([1, 2]), "2"),
        ("hash", json!(frequencies), "cannot have its rows lie by frequency"),
    ] {
        let answer = fit(method, frequencies);
        assert_eq!(answer.status.as_u16(), 400);
        assert!(answer.error().contains(expected), "{}", answer.error());
    }
    let made = fit("float", json!(frequencies)).result();
    // Before anything is fitted: there is no such method.
    let again = fit("none", json!(frequencies));
    assert_eq!(again.status.as_u16(), 409);
    assert!(again.error().contains("is there already"), "{}", again.error());
    assert_eq!((&made["bytes"], &made["ratio"]), (&json!(320), &json!(0.75)));
    let found = server.post(&of("/lookup"), json!({ "ids": [3, 19, 3] })).result();
    assert_eq!(found, json!({ "version": 0, "rows": [rows()[3], rows()[19], rows()[3]] }));
}

/// A table `t` of a hundred rows that share five, in training.
fn trained() -> Server {
    let server = Server::start();
    let table = json!({
        "method": "hash", "rows": 100, "dim": 3, "budget": 60, "scale": 0.0, "optimizer": { "rule": "sgd", "rate": 0.5 },
    });
    assert_eq!(server.put(&of(""), table).result(), json!({ "version": 0, "bytes": 60 }));
    server
}

fn words(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

#[test]
fn rows_bags_and_products_come_by_json_and_by_bytes() {
    let server = fitted();
    let ask = |rest: &str, body: Value| server.post(&of(rest), body).result();
    let raw = |rest: &str, body: Vec<u8>| send(&server, "POST", &of(rest), [BARE, BARE], body);
    let found = ask("/lookup", json!({ "ids": [3, 19, 3] }));
    assert_eq!(found, json!({ "version": 0, "rows": [rows()[3], rows()[19], rows()[3]] }));
    let bare = raw("/lookup", words(&[3, 19, 3]));
    assert_eq!(
        (&bare.headers["x-version"], &bare.headers["x-shape"]),
        (&"0".parse().unwrap(), &"3,3".parse().unwrap())
    );
    assert_eq!(numbers(&bare), [rows()[3], rows()[19], rows()[3]].concat());

    let bags = json!({ "ids": [1, 2, 3], "offsets": [0, 0, 2, 3], "weights": [1, 2, 0.5], "pool": "mean" });
    let expected = [[0.0, 0.0, 0.0], [2.5, 2.875, -2.5], [1.5, 1.625, -1.5]];
    assert_eq!(ask("/pool", bags), json!({ "version": 0, "rows": expected }));
    let body = [words(&[0, 0, 2, 3, 1, 2, 3]), bytes(&[1., 2., 0.5])].concat();
    assert_eq!(numbers(&raw("/pool?bags=3&weights=true&pool=mean", body)), expected.concat());
    assert_eq!(numbers(&raw("/pool?bags=1", words(&[0, 2, 4, 5]))), [9.0, 9.5, -9.0]);

    let dot = ask("/dot", json!({ "query": [1, 4, 0.5], "ids": [2, 0] }));
    assert_eq!(dot, json!({ "version": 0, "products": [10.0, 1.0] }));
    let body = [bytes(&[1., 4., 0.5]), words(&[2, 0])].concat();
    assert_eq!(numbers(&raw("/dot", body)), [10.0, 1.0]);
}

#[test]
fn gradients_move_a_table_and_a_pinned_version_stays() {
    let server = trained();
    let look = |body: Value| server.post(&of("/lookup"), body);
    assert_eq!(server.post(&of("/pins"), json!(null)).result(), json!({ "version": 0 }));
    let step = json!({ "ids": [7, 7], "gradients": [[1, 0, 0], [1, 2, 0]] });
    assert_eq!(server.post(&of("/gradients"), step).result(), json!({ "version": 1 }));
    let body = [words(&[8]), bytes(&[0., 0., 4.])].concat();
    let written = send(&server, "POST", &of("/gradients"), [BARE, "*/*"], body);
    assert_eq!(written.result(), json!({ "version": 2 }));
    // Row 2 is row 7.
    assert_eq!(look(json!({ "ids": [2] })).result(), json!({ "version": 2, "rows": [[-1.0, -1.0, 0.0]] }));
    assert_eq!(look(json!({ "ids": [3], "version": 2 })).result()["rows"], json!([[0.0, 0.0, -2.0]]));
    assert_eq!(
        look(json!({ "ids": [2], "version": 0 })).result(),
        json!({ "version": 0, "rows": [[0.0, 0.0, 0.0]] })
    );
    let gone = look(json!({ "ids": [2], "version": 1 }));
    assert_eq!(gone.status.as_u16(), 409);
    assert!(
        gone.error().contains("version 1 of table `t` is not kept; the one of now is 2"),
        "{}",
        gone.error()
    );
    let stats = server.get(&of("")).result();
    for (name, expected) in [
        ("method", json!("hash")),
        ("rows", json!(100)),
        ("version", json!(2)),
        ("pinned", json!([0])),
        ("bytes", json!(60)),
        ("plain_bytes", json!(1200)),
    ] {
        assert_eq!(stats[name], expected, "{name}");
    }
    assert_eq!(server.send("DELETE", &of("/pins/0"), "").result(), true);
    assert_eq!(server.send("DELETE", &of("/pins/0"), "").result(), false);
    assert_eq!(look(json!({ "ids": [2], "version": 0 })).status.as_u16(), 409);
    assert_eq!(server.post(&of("/maintenance"), json!({ "action": "compact" })).result(), true);
    assert_eq!(look(json!({ "ids": [2] })).result()["rows"], json!([[-1.0, -1.0, 0.0]]));
    for _ in 0..4 {
        server.post(&of("/pins"), json!(null)).result();
        server.post(&of("/gradients"), json!({ "ids": [], "gradients": [] })).result();
    }
    let full = server.post(&of("/pins"), json!(null));
    assert_eq!(full.status.as_u16(), 409);
    assert!(full.error().contains("let go of one"), "{}", full.error());
}

#[test]
fn rows_are_put_and_metrics_tell_of_them() {
    let server = fitted();
    assert_eq!(server.put(&of("/rows"), json!({ "ids": [5], "rows": [[1, 2, 3]] })).result()["version"], 1);
    let put =
        |rest: &str, kind: &str, body: Vec<u8>| send(&server, "PUT", &of(rest), [kind, "*/*"], body).result();
    assert_eq!(put("/rows", BARE, [words(&[6]), bytes(&[4., 5., 6.])].concat())["version"], 2);
    let npy = send(&server, "POST", &of("/lookup"), [BARE, NPY], words(&[5, 6])).bytes;
    assert_eq!(put("/rows?start=18", NPY, npy)["version"], 3);
    let found = server.post(&of("/lookup"), json!({ "ids": [18, 19] })).result();
    assert_eq!(found["rows"], json!([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]));
    let told = String::from_utf8(server.get("/metrics").bytes).unwrap();
    for line in ["nearline_table_rows{table=\"t\"} 20", "nearline_table_changed_rows{table=\"t\"} 4"] {
        assert!(told.contains(line), "{line}: {told}");
    }
}

#[test]
fn tables_go_to_others_and_come_back() {
    let server = fitted();
    let base = "/nearline/v1/tables";
    let export = |name: &str, format: &str| {
        send(&server, "GET", &format!("{base}/{name}/export?format={format}"), ["", "*/*"], vec![])
    };
    let import = |name: &str, format: &str, body: Vec<u8>| {
        send(&server, "POST", &format!("{base}/{name}/import?format={format}"), [BARE, "*/*"], body)
    };
    let look = |name: &str| {
        server.post(&format!("{base}/{name}/lookup"), json!({ "ids": [0, 7, 19] })).result()["rows"].clone()
    };
    for (method, budget, format, params) in [
        ("float", 240, "npy", "npy&dim=3"),
        ("float", 240, "safetensors", "safetensors"),
        ("rowwise", 140, "torch", "torch&dim=3&bits=8"),
        ("rowwise", 120, "torch", "torch&dim=3&bits=4"),
        ("pq", 400, "faiss-pq", "faiss-pq"),
        ("bit-stack", 4000, "safetensors", "safetensors"),
        ("mde", 4000, "safetensors", "safetensors"),
        ("hash", 100, "safetensors", "safetensors"),
    ] {
        server.send("DELETE", &format!("{base}/a"), "").result();
        server.send("DELETE", &format!("{base}/b"), "").result();
        let fit = json!({ "rows": rows(), "method": method, "budget": budget });
        server.post(&format!("{base}/a/fit"), fit).result();
        let bytes = export("a", format);
        assert_eq!(bytes.status.as_u16(), 200, "{method}: {bytes:?}");
        assert_eq!(import("b", params, bytes.bytes.clone()).result()["rows"], 20);
        assert_eq!(look("b"), look("a"), "{method}");
        assert_eq!(export("b", format).bytes, bytes.bytes);
        for length in [0, 1, bytes.bytes.len() / 2, bytes.bytes.len() - 1] {
            let cut = import("c", params, bytes.bytes[..length].to_vec());
            // Rows alone cannot tell how many they are.
            assert!(cut.status.as_u16() == 400 || format == "torch", "{method} {length}: {cut:?}");
            server.send("DELETE", &format!("{base}/c"), "").result();
        }
    }
    for (format, status) in [("tbe", 400), ("torch-byte", 400), ("faiss-pq", 400), ("onnx", 400)] {
        assert_eq!(export("t", format).status.as_u16(), status, "{format}");
    }
    let nan = import("c", "npy&dim=3", {
        let mut npy = export("t", "npy").bytes;
        let at = npy.len() - 4;
        npy[at..].copy_from_slice(&f32::NAN.to_le_bytes());
        npy
    });
    assert_eq!(nan.error(), "Wrong input: body: row 19, element 2: NaN; expected finite values");
    assert_eq!(server.get(base).result(), json!({ "tables": ["a", "b", "t"] }));
}

#[test]
fn ids_come_when_they_were_seen_and_go_when_they_were_not() {
    let server = Server::start();
    let optimizer = json!({ "rule": "sgd", "rate": 1.0 });
    let mut table = json!({
        "method": "dynamic", "dim": 2, "budget": 4096, "optimizer": optimizer, "admit_after": 2, "expire_writes": 5,
    });
    assert_eq!(server.put(&of(""), table.clone()).result(), json!({ "version": 0, "rows_max": 12 }));
    let step = |id: u64| {
        server.post(&of("/gradients"), json!({ "ids": [id], "gradients": [[1, 2]] })).result()["version"]
            .clone()
    };
    let look = |id: u64| server.post(&of("/lookup"), json!({ "ids": [id] })).result()["rows"][0].clone();
    let far = u64::MAX - 1;
    assert_eq!((step(far), look(far)), (json!(1), json!([-1.0, -2.0])), "seen once: shared");
    assert_eq!(look(3), json!([-1.0, -2.0]));
    assert_eq!((step(far), look(far), look(3)), (json!(2), json!([-2.0, -4.0]), json!([-1.0, -2.0])));
    assert_eq!(server.get(&of("")).result()["rows"], 1);
    for _ in 0..6 {
        step(4);
    }
    assert_eq!(server.post(&of("/maintenance"), json!({ "action": "expire" })).result(), true);
    assert_eq!(server.get(&of("")).result()["rows"], 1);
    assert_eq!(look(far), look(3), "it has expired");
    let kept = send(&server, "GET", &of("/export?format=safetensors"), ["", "*/*"], vec![]).bytes;
    let again = "/nearline/v1/tables/again";
    send(&server, "POST", &format!("{again}/import?format=safetensors"), [BARE, "*/*"], kept).result();
    let found = server.post(&format!("{again}/lookup"), json!({ "ids": [4] })).result();
    assert_eq!(found["rows"][0], look(4));
    assert_eq!(server.get(&of("/export?format=npy")).status.as_u16(), 400);
    assert_eq!(server.post(&of("/lookup"), json!({ "ids": [u64::MAX] })).status.as_u16(), 400);
    table["budget"] = json!(10);
    let small = server.put("/nearline/v1/tables/small", table.clone());
    assert!(small.error().contains("expected at least"), "{}", small.error());
    table["budget"] = json!(1 << 20);
    for dim in [json!(0), json!(100_000)] {
        table["dim"] = dim;
        assert_eq!(server.put("/nearline/v1/tables/small", table.clone()).status.as_u16(), 400);
    }
}

#[test]
fn what_is_odd_is_refused() {
    let server = fitted();
    let base = "/nearline/v1/tables";
    for (path, body, status, part) in [
        ("/t/lookup", json!({ "ids": [20] }), 400, "20 at place 0; expected ids below 20"),
        ("/t/lookup", json!({ "ids": [-1] }), 400, ""),
        ("/t/lookup", json!({ "ids": vec![0; 3_000_000] }), 413, "ask in parts"),
        ("/t/pool", json!({ "ids": vec![0; 3_000_000], "offsets": [0, 3_000_000] }), 413, "ask in parts"),
        ("/t/dot", json!({ "query": [1, 2, 3], "ids": vec![0; 3_000_000] }), 413, "ask in parts"),
        ("/t/lookup", json!({}), 400, ""),
        ("/t/pool", json!({ "ids": [1], "offsets": [0, 2, 1] }), 400, "1 after 2 at offset 2"),
        ("/t/pool", json!({ "ids": [1], "offsets": [] }), 400, "offsets"),
        ("/t/pool", json!({ "ids": [1], "offsets": [0, 1], "weights": [1, 2] }), 400, "weights of ids"),
        ("/t/pool", json!({ "ids": [1], "offsets": [0, 1], "pool": "max" }), 400, ""),
        ("/t/dot", json!({ "query": [1, 2], "ids": [1] }), 400, "query: 2 values; expected 3"),
        ("/t/gradients", json!({ "ids": [1], "gradients": [[1, 2, 3]] }), 400, "cannot be trained"),
        ("/t/fit", json!({ "rows": [[1]], "method": "float", "budget": 100 }), 409, "already"),
        ("/u/fit", json!({ "rows": [[1, 2]], "method": "float", "budget": 3 }), 400, "4 bytes needed"),
        ("/u/fit", json!({ "rows": [[1, 2], [1]], "method": "float", "budget": 100 }), 400, "vector 1"),
        ("/u/fit", json!({ "rows": [[1, 1e39]], "method": "float", "budget": 100 }), 400, ""),
        ("/u/fit", json!({ "rows": [], "method": "float", "budget": 100 }), 400, ""),
        ("/u/fit", json!({ "rows": [[1]], "method": "magic", "budget": 100 }), 400, "magic"),
        ("/u/fit", json!({ "rows": [[1]], "method": "dhe", "budget": 100 }), 400, "expected one of float"),
        ("/u/fit", json!({ "rows": [[1]], "method": "float", "budget": 1u64 << 50 }), 400, "half the memory"),
        ("/u/lookup", json!({ "ids": [1] }), 404, "embedding table `u`"),
    ] {
        let answer = server.post(&format!("{base}{path}"), body);
        assert_eq!(answer.status.as_u16(), status, "{path}: {answer:?}");
        assert!(answer.error().contains(part), "{path}: {}", answer.error());
    }
}

#[test]
fn tables_that_cannot_be_are_not_made() {
    let server = Server::start();
    let optimizer = json!({ "rule": "adagrad", "rate": 0.1 });
    for (name, value, part) in [
        ("rows", json!(0), "rows"),
        ("dim", json!(0), "dimensions"),
        ("budget", json!(8), "12 bytes needed"),
        ("method", json!("float"), "expected one of hash"),
        ("scale", json!(1e39), ""),
        ("optimizer", json!({ "rule": "adam", "rate": 0.1, "beta1": 2.0 }), "decays in 0..1"),
        ("optimizer", json!({ "rule": "lamb" }), ""),
    ] {
        let mut table =
            json!({ "method": "hash", "rows": 9, "dim": 3, "budget": 99, "optimizer": optimizer.clone() });
        table[name] = value;
        let answer = server.put("/nearline/v1/tables/u", table);
        assert_eq!(answer.status.as_u16(), 400, "{name}: {answer:?}");
        assert!(answer.error().contains(part), "{name}: {}", answer.error());
    }
}

#[test]
fn bytes_that_do_not_fit_are_refused() {
    let server = fitted();
    for (path, body) in [
        ("/t/lookup", vec![1; 7]),
        ("/t/lookup?version=x", words(&[1])),
        ("/t/pool", words(&[0, 1, 1])),
        ("/t/pool?bags=18446744073709551615", words(&[0, 1, 1])),
        ("/t/pool?bags=1&weights=true", words(&[0, 1, 1])),
        ("/t/dot", vec![0; 11]),
        ("/t/gradients", vec![0; 19]),
        ("/u/fit?dim=0&method=float&budget=10", vec![]),
        ("/u/fit?dim=1&method=float&budget=10", bytes(&[f32::NAN])),
        ("/u/import?format=npy&dim=0", vec![]),
        ("/u/import?format=torch&dim=8&bits=5", vec![0; 12]),
        ("/u/import?format=torch&dim=8&bits=8&align=3", vec![0; 12]),
    ] {
        let answer = send(&server, "POST", &format!("/nearline/v1/tables{path}"), [BARE, "*/*"], body);
        assert_eq!(answer.status.as_u16(), 400, "{path}: {answer:?}");
    }
}

#[test]
fn writes_that_are_refused_change_nothing() {
    let server = trained();
    let nan = send(
        &server,
        "POST",
        &of("/gradients"),
        [BARE, "*/*"],
        [words(&[1]), bytes(&[1., f32::NAN, 0.])].concat(),
    );
    assert_eq!(nan.error(), "Wrong input: gradients: NaN at element 1 of row 0; expected finite values");
    let put = server.put(&of("/rows"), json!({ "ids": [1], "rows": [[1, 2, 3]] }));
    assert!(put.status.as_u16() == 400 && put.error().contains("cannot put rows"), "{}", put.error());
    let far = server.post(&of("/gradients"), json!({ "ids": [100], "gradients": [[1, 2, 3]] }));
    assert!(far.error().contains("100 at place 0; expected ids below 100"), "{}", far.error());
    assert_eq!(server.get(&of("")).result()["version"], 0, "nothing of it was written");
    assert_eq!(server.send("DELETE", &of(""), "").result(), true);
    assert_eq!(server.send("DELETE", &of(""), "").result(), false);
    assert_eq!(server.get(&of("")).status.as_u16(), 404);
}
