"""Valid requests of every route, damaged by chance: none may be answered with a fault of the server, hang or end it.

    python3 server/tests/clients/fuzz.py BINARY [REQUESTS] [SEED]

The routes are those of the server's own document, and each needs a request here: a route that is missing fails the run. The
same seed asks the same. Nothing beyond Python's own library is needed; where the package `jsonschema` is installed, bodies that
were accepted, and results, are held against the schemas of the document, too.
"""

import copy
import http.client
import json
import random
import sys
import tempfile
import urllib.parse

from kill import Server, ask

try:
    import jsonschema
except ImportError:
    jsonschema = None

POINT = {"id": 1, "vector": [0.5, 1, -2, 0.25], "payload": {"city": "Oslo", "n": 3, "at": "2024-05-01T00:00:00Z",
                                                           "place": {"lon": 10.7, "lat": 59.9}, "tags": ["a", "b"]}}
FILTER = {
    "must": [{"key": "n", "range": {"gte": 1, "lt": 90}}, {"key": "city", "match": {"any": ["Oslo", "Bergen"]}},
             {"key": "tags", "values_count": {"gte": 1}}],
    "should": [{"has_id": [1, 2, 3]}, {"is_empty": {"key": "x"}}, {"is_null": {"key": "n"}},
               {"key": "place", "geo_radius": {"center": {"lon": 10, "lat": 60}, "radius": 1e5}},
               {"key": "at", "range": {"lte": "2025-01-01T00:00:00Z"}},
               {"nested": {"key": "rooms[]", "filter": {"must": [{"key": "size", "match": {"value": 4}}]}}}],
    "must_not": [{"key": "city", "match": {"text": "fjord"}}],
    "min_should": {"conditions": [{"key": "n", "match": {"except": [7]}}], "min_count": 1},
}
QUERY = {"query": [1, 0, 0.5, -1], "limit": 5, "offset": 1, "filter": FILTER, "score_threshold": -1e6, "using": "",
         "params": {"exact": False, "target_recall": 0.9, "nprobe": 4, "max_bytes_read": 100000, "max_ms": 50, "hnsw_ef": 64},
         "with_payload": {"include": ["city", "place.lon"]}, "with_vector": True}
QUERIES = [
    QUERY,
    {"query": {"nearest": 3, "mmr": {"diversity": 0.4, "candidates_limit": 20}}, "limit": 4},
    {"query": {"recommend": {"positive": [1, [1, 2, 3, 4]], "negative": [2], "strategy": "best_score"}}},
    {"query": {"discover": {"target": 1, "context": [{"positive": 2, "negative": 3}]}}},
    {"query": {"context": [{"positive": 2, "negative": [1, 1, 1, 1]}]}},
    {"query": {"order_by": {"key": "n", "direction": "desc", "start_from": 50}}},
    {"query": {"sample": "random"}, "limit": 3},
    {"query": {"fusion": "rrf"}, "prefetch": [{"query": 1, "limit": 9}, {"query": [1, 1, 0, 0], "filter": FILTER}]},
    {"query": {"rrf": {"k": 3, "weights": [1, 2]}}, "prefetch": [{"query": 1}, {"query": 2, "prefetch": {"query": 3}}]},
    {"query": {"fusion": "dbsf"}, "prefetch": [{"query": 1, "score_threshold": 0.1}, {"query": 2}]},
    {"prefetch": {"query": 1, "limit": 30}, "query": {"formula": {"sum": [
        "$score", {"mult": [0.5, "n"]}, {"div": {"left": 1, "right": "n", "by_zero_default": 0}}, {"abs": -1}, {"neg": "n"},
        {"sqrt": 4}, {"pow": {"base": 2, "exponent": 3}}, {"exp": 1}, {"ln": 2}, {"log10": 10},
        {"geo_distance": {"origin": {"lon": 1, "lat": 2}, "to": "place"}},
        {"gauss_decay": {"x": "n", "target": 5, "scale": 2, "midpoint": 0.5}},
        {"exp_decay": {"x": {"datetime_key": "at"}, "target": {"datetime": "2024-01-01T00:00:00Z"}, "scale": 86400}},
        {"key": "city", "match": {"value": "Oslo"}}]}, "defaults": {"n": 1, "place": {"lon": 0, "lat": 0},
                                                                    "at": "2024-01-01T00:00:00Z"}}},
    {"query": 1, "lookup_from": {"collection": "fuzz", "vector": ""}},
]
GROUPS = {"group_by": "city", "group_size": 2, "limit": 3, "with_lookup": {"collection": "fuzz", "with_payload": True}}
SEARCH = {"vector": [1, 0, 0, 1], "limit": 3, "filter": FILTER, "with_payload": ["city"], "offset": 1}
RECOMMEND = {"positive": [1, 2], "negative": [3], "limit": 3, "strategy": "average_vector"}
DISCOVER = {"target": 1, "context": [{"positive": 2, "negative": 3}], "limit": 3}
MATRIX = {"sample": 20, "limit": 3, "filter": FILTER}
WRITES = [
    {"upsert": {"points": [POINT]}}, {"delete": {"points": [50]}}, {"set_payload": {"payload": {"n": 1}, "points": [1]}},
    {"overwrite_payload": {"payload": {"n": 1}, "filter": FILTER}}, {"delete_payload": {"keys": ["n"], "points": [1]}},
    {"clear_payload": {"points": [1]}}, {"update_vectors": {"points": [{"id": 1, "vector": [1, 1, 1, 1]}]}},
    {"delete_vectors": {"vector": [""], "points": [2]}},
]
CREATE = {"vectors": {"size": 4, "distance": "Cosine", "datatype": "float16", "on_disk": True, "hnsw_config": {"m": 8}},
          "hnsw_config": {"m": 16, "ef_construct": 100}, "optimizers_config": {"indexing_threshold": 1000},
          "quantization_config": {"scalar": {"type": "int8", "quantile": 0.9}}, "wal_config": {"wal_capacity_mb": 32},
          "on_disk_payload": True, "metadata": {"a": 1}, "shard_number": 1, "replication_factor": 1}
NAMED = {"vectors": {"a": {"size": 4, "distance": "Dot"}, "b": {"size": 2, "distance": "Manhattan", "datatype": "uint8"}}}
C = "/collections/fuzz"
S = "/nearline/v1/behaviors/fuzz"
T = "/nearline/v1/tables/fuzz"
TRAINED = {"method": "hash", "rows": 50, "dim": 4, "budget": 320, "scale": 0.1, "seed": 7,
           "optimizer": {"rule": "adam", "rate": 0.1, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8}}
BYTES = "application/octet-stream"

# Requests of each route: the path as the document has it, methods, paths as they are asked, bodies.
REQUESTS = [
    ("/collections", "GET", "/collections", [None]),
    ("/collections/{collection}", "GET", C, [None]),
    ("/collections/{collection}", "PUT", "/collections/fuzz2", [CREATE, NAMED]),
    ("/collections/{collection}", "PATCH", C, [{key: CREATE[key] for key in (
        "hnsw_config", "optimizers_config", "quantization_config", "metadata")}]),
    ("/collections/{collection}", "DELETE", "/collections/fuzz2", [None]),
    ("/collections/aliases", "POST", "/collections/aliases", [{"actions": [
        {"create_alias": {"collection_name": "fuzz", "alias_name": "other"}},
        {"rename_alias": {"old_alias_name": "other", "new_alias_name": "third"}},
        {"delete_alias": {"alias_name": "third"}}]}]),
    ("/collections/{collection}/index", "PUT", f"{C}/index", [
        {"field_name": "n", "field_schema": "integer"},
        {"field_name": "city", "field_schema": {"type": "text", "tokenizer": "word", "min_token_len": 1, "lowercase": True}}]),
    ("/collections/{collection}/index/{field}", "DELETE", f"{C}/index/n", [None]),
    ("/collections/{collection}/points", "PUT", f"{C}/points", [
        {"points": [POINT, {"id": "5c56c793-69f3-4fbf-87e6-c4bf54c28c26", "vector": {"": [1, 2, 3, 4]}}]},
        {"batch": {"ids": [1, 2], "vectors": [[1, 2, 3, 4], [4, 3, 2, 1]], "payloads": [{"n": 1}, None]}},
        {"points": [POINT], "update_mode": "insert_only", "update_filter": FILTER}]),
    ("/collections/{collection}/points", "POST", f"{C}/points", [
        {"ids": [1, 2, "5c56c793-69f3-4fbf-87e6-c4bf54c28c26"], "with_payload": {"exclude": ["n"]}, "with_vector": [""]}]),
    ("/collections/{collection}/points/{id}", "GET", f"{C}/points/1", [None]),
    ("/collections/{collection}/points/delete", "POST", f"{C}/points/delete", [{"points": [4]}, {"filter": FILTER}]),
    ("/collections/{collection}/points/payload", "POST", f"{C}/points/payload", [
        {"payload": {"a": {"b": 1}}, "points": [1, 2], "key": "deep.er"}]),
    ("/collections/{collection}/points/payload", "PUT", f"{C}/points/payload", [{"payload": {"n": 1}, "filter": FILTER}]),
    ("/collections/{collection}/points/payload/delete", "POST", f"{C}/points/payload/delete", [
        {"keys": ["a.b", "tags[0]"], "points": [1]}]),
    ("/collections/{collection}/points/payload/clear", "POST", f"{C}/points/payload/clear", [{"points": [3]}]),
    ("/collections/{collection}/points/vectors", "PUT", f"{C}/points/vectors", [
        {"points": [{"id": 1, "vector": [1, 2, 3, 4]}], "update_filter": FILTER}]),
    ("/collections/{collection}/points/vectors/delete", "POST", f"{C}/points/vectors/delete", [
        {"vector": [""], "points": [5]}]),
    ("/collections/{collection}/points/batch", "POST", f"{C}/points/batch", [{"operations": WRITES}]),
    ("/collections/{collection}/points/scroll", "POST", f"{C}/points/scroll", [
        {"limit": 5, "offset": 3, "filter": FILTER, "with_payload": True, "with_vector": False},
        {"limit": 5, "order_by": {"key": "n", "direction": "asc", "start_from": 2}}]),
    ("/collections/{collection}/points/count", "POST", f"{C}/points/count", [{"filter": FILTER, "exact": True}]),
    ("/collections/{collection}/points/query", "POST", f"{C}/points/query", QUERIES),
    ("/collections/{collection}/points/query/batch", "POST", f"{C}/points/query/batch", [{"searches": QUERIES}]),
    ("/collections/{collection}/points/query/groups", "POST", f"{C}/points/query/groups", [
        {**GROUPS, "query": [1, 2, 3, 4]}, {**GROUPS, "group_by": "n", "query": 1, "prefetch": {"query": 2}}]),
    *[(f"/collections/{{collection}}/points/{name}{rest}", "POST", f"{C}/points/{name}{rest}", bodies)
      for name, body in (("search", SEARCH), ("recommend", RECOMMEND), ("discover", DISCOVER))
      for rest, bodies in (("", [body]), ("/batch", [{"searches": [body, body]}]), ("/groups", [{**body, **GROUPS}]))
      if name + rest != "discover/groups"],
    ("/collections/{collection}/points/search/matrix/pairs", "POST", f"{C}/points/search/matrix/pairs", [MATRIX]),
    ("/collections/{collection}/points/search/matrix/offsets", "POST", f"{C}/points/search/matrix/offsets", [MATRIX]),
    ("/collections/{collection}/facet", "POST", f"{C}/facet", [{"key": "city", "limit": 4, "filter": FILTER, "exact": True}]),
    ("/collections/{collection}/snapshots", "GET", f"{C}/snapshots", [None]),
    ("/collections/{collection}/snapshots", "POST", f"{C}/snapshots", [None]),
    ("/collections/{collection}/snapshots/{snapshot}", "GET", f"{C}/snapshots/none", [None]),
    ("/collections/{collection}/snapshots/{snapshot}", "DELETE", f"{C}/snapshots/none", [None]),
    ("/snapshots", "GET", "/snapshots", [None]),
    ("/snapshots", "POST", "/snapshots", [None]),
    ("/snapshots/{snapshot}", "GET", "/snapshots/none", [None]),
    ("/snapshots/{snapshot}", "DELETE", "/snapshots/none", [None]),
    ("/collections/{collection}/snapshots/recover", "PUT", f"{C}/snapshots/recover", [
        {"location": "file:///fuzz/none", "priority": "snapshot", "checksum": "0"}]),
    ("/collections/{collection}/snapshots/upload", "POST", "/collections/fuzz3/snapshots/upload", [
        (b"--b\r\nContent-Disposition: form-data; name=\"snapshot\"; filename=\"s\"\r\n\r\nCOLLECTION\r\n--b--\r\n",
         "multipart/form-data; boundary=b")]),
    ("/nearline/v1/collections/{collection}/points", "PUT", "/nearline/v1/collections/fuzz/points?start=0", [
        (bytes(range(64)), BYTES),
        (b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4), }".ljust(80) + bytes(32),
         "application/x-npy")]),
    ("/nearline/v1/collections/{collection}/query", "POST", "/nearline/v1/collections/fuzz/query?limit=3&target_recall=0.9", [
        (bytes(range(32)), BYTES)]),
    ("/nearline/v1/collections/{collection}/stats", "GET", "/nearline/v1/collections/fuzz/stats", [None]),
    ("/nearline/v1/collections/{collection}/maintenance", "POST", "/nearline/v1/collections/fuzz/maintenance", [
        {"action": "flush"}, {"action": "compact"}, {"action": "rebuild_field_indexes"}]),
    ("/nearline/v1/collections/{collection}/verify", "POST", "/nearline/v1/collections/fuzz/verify", [None]),
    ("/nearline/v1/collections/{collection}/recall", "POST", "/nearline/v1/collections/fuzz/recall", [
        {"using": "", "queries": 3, "limit": 4, "target_recall": 0.9}]),
    ("/nearline/v1/collections/{collection}/calibrate", "POST", "/nearline/v1/collections/fuzz/calibrate?limit=3", [
        {"queries": [[n, 1, -n, 0.5] for n in range(60)], "using": "", "limit": 5}, (bytes(range(1, 241)) * 4, BYTES)]),
    ("/nearline/v1/behaviors", "GET", "/nearline/v1/behaviors", [None]),
    ("/nearline/v1/behaviors/{space}", "GET", S, [None]),
    ("/nearline/v1/behaviors/{space}", "PUT", "/nearline/v1/behaviors/fuzz2", [
        {"dim": 4, "groups": 2, "bits": 2, "seed": 7, "normalize": "count", "ttl_ms": 1000000, "embedding_version": "v3"},
        {"dim": 2, "groups": 1, "bits": 1, "projections": [1, 0.5], "normalize": "l2"}]),
    ("/nearline/v1/behaviors/{space}", "DELETE", "/nearline/v1/behaviors/fuzz2", [None]),
    ("/nearline/v1/behaviors/{space}/planes", "GET", f"{S}/planes", [None]),
    ("/nearline/v1/behaviors/{space}/sources", "GET", f"{S}/sources", [None]),
    ("/nearline/v1/behaviors/{space}/epochs", "GET", f"{S}/epochs", [None]),
    ("/nearline/v1/behaviors/{space}/epochs", "POST", f"{S}/epochs", [
        {"dim": 4, "groups": 3, "bits": 2, "seed": 8, "values": "f16", "keep": True},
        {"dim": 3, "groups": 2, "bits": 1, "embedding_version": "v2"}]),
    ("/nearline/v1/behaviors/{space}/epochs/{epoch}/build", "POST", f"{S}/epochs/2/build", [None]),
    ("/nearline/v1/behaviors/{space}/epochs/{epoch}", "DELETE", f"{S}/epochs/2", [None]),
    ("/nearline/v1/behaviors/{space}/items", "PUT", f"{S}/items", [
        {"items": [10, 11], "vectors": [[1, 0, 0, 1], [0, 1, 0, 1]]}, (bytes(32), BYTES)]),
    ("/nearline/v1/behaviors/{space}/append", "POST", f"{S}/append", [
        {"behaviors": [{"user": 7, "event": 1, "time": 1000, "item": 1},
                       {"user": 8, "event": 2, "time": 900, "item": 2, "vector": [1, 2, 3, 4]}],
         "source": "log", "partition": 0, "offset": 5}, (bytes(range(64)), BYTES)]),
    ("/nearline/v1/behaviors/{space}/delete", "POST", f"{S}/delete", [
        {"user": 7, "events": [1, 9]}, {"user": 8, "before": 950}]),
    ("/nearline/v1/behaviors/{space}/truncate", "POST", f"{S}/truncate", [{"user": 7, "keep": 3}]),
    ("/nearline/v1/behaviors/{space}/interest", "POST", f"{S}/interest", [
        {"queries": [{"user": 7, "items": [0, 1]}, {"user": 8, "vectors": [[1, 0, 0, 0]]}], "at": 2000, "epoch": 1}]),
    ("/nearline/v1/behaviors/{space}/infer", "POST", f"{S}/infer?at=2000", [
        {"id": "1", "inputs": [
            {"name": "users", "shape": [2], "datatype": "INT64", "data": [7, 8]},
            {"name": "lengths", "shape": [2], "datatype": "UINT64", "data": [1, 0]},
            {"name": "candidates", "shape": [1, 4], "datatype": "FP32", "data": [[1, 0, 0, 0]]},
        ], "outputs": [{"name": "interest", "parameters": {"binary_data": False}}]},
        {"inputs": [
            {"name": "users", "shape": [1], "datatype": "INT64", "data": [7]},
            {"name": "items", "shape": [1, 2], "datatype": "INT64", "data": [[0, 1]]},
        ]}]),
    ("/nearline/v1/behaviors/{space}/tables", "POST", f"{S}/tables", [{"users": [7, 8, 99], "at": 2000}]),
    ("/nearline/v1/behaviors/{space}/behaviors", "POST", f"{S}/behaviors", [
        {"user": 7, "last": 5}, {"user": 7, "from": 0, "to": 5000}]),
    ("/nearline/v1/behaviors/{space}/top_k_hamming", "POST", f"{S}/top_k_hamming", [{"user": 7, "items": [0, 1], "k": 3}]),
    ("/nearline/v1/behaviors/{space}/exact_attention", "POST", f"{S}/exact_attention", [
        {"user": 7, "vectors": [[1, 0, 0, 0]], "scale": 0.5}]),
    ("/nearline/v1/behaviors/{space}/maintenance", "POST", f"{S}/maintenance", [{"action": "flush"}]),
    ("/nearline/v1/behaviors/{space}/snapshots", "GET", f"{S}/snapshots", [None]),
    ("/nearline/v1/behaviors/{space}/snapshots", "POST", f"{S}/snapshots", [{"name": "more"}]),
    ("/nearline/v1/behaviors/{space}/snapshots/{name}", "DELETE", f"{S}/snapshots/kept", [None]),
    ("/nearline/v1/behaviors/{space}/snapshots/{name}/restore", "POST", f"{S}/snapshots/kept/restore", [{"name": "fuzz3"}]),
    ("/nearline/v1/tables", "GET", "/nearline/v1/tables", [None]),
    ("/nearline/v1/tables/{table}", "GET", T, [None]),
    ("/nearline/v1/tables/{table}", "PUT", "/nearline/v1/tables/fuzz2", [
        TRAINED, {**TRAINED, "method": "tt", "budget": 4000, "optimizer": {"rule": "sgd", "rate": 0.1}},
        {**TRAINED, "method": "dynamic", "budget": 4000, "admit_after": 2, "expire_writes": 9, "expire_seconds": 60}]),
    ("/nearline/v1/tables/{table}", "DELETE", "/nearline/v1/tables/fuzz2", [None]),
    ("/nearline/v1/tables/{table}/fit", "POST", "/nearline/v1/tables/fuzz3/fit", [
        {"rows": [[1, 2], [3, 4], [1, 2]], "method": "rowwise", "budget": 100, "frequencies": [3, 2, 1], "seed": 1},
        {"rows": [[1, 2], [3, 4], [1, 2]], "method": "mde", "budget": 100, "fields": [2, 1]}]),
    ("/nearline/v1/tables/{table}/fit", "POST", "/nearline/v1/tables/fuzz3/fit?dim=4&method=pq&budget=999&seed=1", [
        (bytes(range(64)), BYTES)]),
    ("/nearline/v1/tables/{table}/lookup", "POST", f"{T}/lookup", [{"ids": [1, 2], "version": 0}, (bytes(16), BYTES)]),
    ("/nearline/v1/tables/{table}/pool", "POST", f"{T}/pool", [
        {"ids": [1, 2, 3], "offsets": [0, 1, 3], "weights": [1, 0.5, 2], "pool": "mean"}]),
    ("/nearline/v1/tables/{table}/pool", "POST", f"{T}/pool?bags=1&weights=true", [(bytes(16), BYTES)]),
    ("/nearline/v1/tables/{table}/dot", "POST", f"{T}/dot", [{"query": [1, 2, 3, 4], "ids": [1, 2]}, (bytes(32), BYTES)]),
    ("/nearline/v1/tables/{table}/gradients", "POST", f"{T}/gradients", [
        {"ids": [1, 2], "gradients": [[1, 2, 3, 4], [0.1, 0, 0, 0]]}, (bytes(48), BYTES)]),
    ("/nearline/v1/tables/{table}/rows", "PUT", "/nearline/v1/tables/fuzz4/rows", [
        {"ids": [1, 2], "rows": [[1, 2, 3, 4], [0.1, 0, 0, 0]]}, (bytes(48), BYTES)]),
    ("/nearline/v1/tables/{table}/pins", "POST", f"{T}/pins", [None]),
    ("/nearline/v1/tables/{table}/pins/{version}", "DELETE", f"{T}/pins/0", [None]),
    ("/nearline/v1/tables/{table}/maintenance", "POST", f"{T}/maintenance", [{"action": "compact"}]),
    ("/nearline/v1/tables/{table}/maintenance", "POST", "/nearline/v1/tables/fuzz5/maintenance", [{"action": "expire"}]),
    ("/nearline/v1/tables/{table}/import", "POST", "/nearline/v1/tables/fuzz3/import?format=torch&dim=4&bits=4&align=1", [
        (bytes(12), BYTES)]),
    ("/nearline/v1/tables/{table}/import", "POST", "/nearline/v1/tables/fuzz3/import?format=safetensors", [
        ((64).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}'.ljust(64) + bytes(16), BYTES)]),
    ("/nearline/v1/tables/{table}/export", "GET", f"{T}/export?format=npy", [None]),
    *[(path, "GET", path.replace("{collection}", "fuzz"), [None]) for path in (
        "/", "/healthz", "/livez", "/readyz", "/openapi.json", "/docs", "/metrics", "/telemetry", "/cluster", "/issues",
        "/aliases", "/collections/{collection}/aliases", "/collections/{collection}/exists",
        "/collections/{collection}/cluster", "/collections/{collection}/optimizations")],
    ("/issues", "DELETE", "/issues", [None]),
]

NUMBERS = [0, -1, 1, 2, 0.5, -0.0, 1e308, -1e308, 3.5e38, 1e-320, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64,
           -2**63, -2**63 - 1, 65535, 65536, 65537, 1048577, 10**30]
TEXTS = ["", "\0", "a" * 300, "..", "../../x", "a.b[].c", "[]", "a[", "]", ".", '"', '"a', "$score", "$score[3]", "🙂", "\u202e",
         "9999-12-31T23:59:59.999999Z", "-262144-01-01", "2024-13-01", "fuzz", "rrf", "00000000-0000-0000-0000-000000000000"]
# What no encoder of JSON would write.
RAW = ["NaN", "-Infinity", "1e999", "00", "1.", "tru", "\"\\ud800\"", "[" * 500, "{\"a\":" * 200, "\x00"]


def hostile(chance):
    """A value that may stand anywhere."""
    return chance.choice([
        lambda: chance.choice(NUMBERS), lambda: chance.choice(TEXTS), lambda: None, lambda: chance.random() < 0.5,
        lambda: [], lambda: {}, lambda: [chance.choice(NUMBERS) for _ in range(chance.choice([1, 2, 4, 5, 1000]))],
        lambda: [[1, 2], [3, 4]], lambda: {chance.choice(TEXTS): chance.choice(NUMBERS)},
        lambda: {"indices": [1, 1], "values": [0.5, 1]}, lambda: {"points": [1]}, lambda: copy.deepcopy(FILTER),
        lambda: copy.deepcopy(chance.choice(QUERIES)),
        lambda: nested(chance.choice(["must", "should", "prefetch", "sum", "nested", "a"]), chance.choice([3, 17, 60, 130])),
    ])()


def nested(name, depth):
    value = {}
    for _ in range(depth):
        value = {name: [value]} if name != "a" else {name: value}
    return value


def places(value, path=()):
    """The paths of all values in a value."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def damaged(body, chance):
    """The body with one to three things wrong, as text."""
    root = [copy.deepcopy(body)]
    for _ in range(chance.choice([1, 1, 2, 3])):
        path = chance.choice(list(places(root[0])))
        holder, key = root, 0
        for step in path:
            holder, key = holder[key], step
        old = holder[key]
        kind = chance.random()
        if kind < 0.15 and path:
            del holder[key]
        elif kind < 0.25 and isinstance(old, list) and old:
            holder[key] = old * chance.choice([0, 2, 50])
        elif kind < 0.35 and isinstance(old, dict):
            old[chance.choice([*TEXTS, "shard_key", "filter", "limit", "id", "key"])] = hostile(chance)
        elif kind < 0.45 and isinstance(old, (int, float)):
            holder[key] = chance.choice(NUMBERS)
        elif kind < 0.5 and isinstance(old, str):
            holder[key] = chance.choice(TEXTS)
        elif kind < 0.55:
            holder[key] = [old]
        else:
            holder[key] = hostile(chance)
    text = json.dumps(root[0])
    if chance.random() < 0.1:
        at = chance.randrange(len(text) + 1)
        text = text[:at] + chance.choice(RAW) + text[at + chance.choice([0, 1, 5]):]
    return text.encode()


def bytes_damaged(body, chance):
    body = bytearray(body)
    for _ in range(chance.choice([0, 1, 3])):
        at = chance.randrange(len(body) + 1)
        body[at:at + chance.choice([0, 1, 4])] = chance.randbytes(chance.choice([0, 1, 4, 16]))
    return bytes(body)


PARAMETERS = ["wait", "timeout", "ordering", "consistency", "as_of", "using", "start", "ids", "limit", "target_recall", "priority",
              "version", "format", "dim", "bits", "align", "bags", "weights", "pool", "method", "budget", "seed"]
VALUES = ["true", "false", "", "0", "1", "-1", "1.5", "NaN", "inf", "18446744073709551615", "18446744073709551616", "strong", "all",
          "x", "%00", "%ff", "..%2f..", "a" * 300]


def path_damaged(path, chance):
    if chance.random() < 0.15:
        parts = path.split("?")[0].split("/")
        at = chance.randrange(1, len(parts))
        parts[at] = urllib.parse.quote(chance.choice([*TEXTS, "%", "nosuch", "aliases", "5"]), safe="")
        path = "/".join(parts)
    while chance.random() < 0.3:
        path += ("&" if "?" in path else "?") + f"{chance.choice(PARAMETERS)}={chance.choice(VALUES)}"
    return path


def request(chance):
    """A route, if the path is still its own, a method, a path, a body and its kind."""
    route, method, path, bodies = chance.choice(REQUESTS)
    body = chance.choice(bodies)
    kind = "application/json"
    if isinstance(body, tuple):
        body, kind = body
        body = bytes_damaged(body, chance)
    elif body is not None:
        body = json.dumps(body).encode() if chance.random() < 0.1 else damaged(body, chance)
    if chance.random() < 0.03:
        kind = chance.choice(["text/plain", "", BYTES, "application/x-npy", "multipart/form-data"])
    damaged_path = path_damaged(path, chance)
    same = damaged_path.split("?")[0] == path.split("?")[0]
    return route if same else None, method, damaged_path, body or b"", kind


def populate(connection):
    """The collection that is asked, with points; the behaviour space, with a snapshot; and embedding tables."""
    ask(connection, "DELETE", C)
    ask(connection, "PUT", C, json.dumps({"vectors": {"size": 4, "distance": "Dot"}}))
    cities = ["Oslo", "Bergen", "Berlin"]
    points = [{**POINT, "id": at, "vector": [at % 7, at % 5 - 2, 1, at / 9],
               "payload": {**POINT["payload"], "n": at, "city": cities[at % 3]}} for at in range(60)]
    ask(connection, "PUT", f"{C}/points", json.dumps({"points": points}))
    for name in "fuzz", "fuzz2", "fuzz3":
        ask(connection, "DELETE", f"/nearline/v1/behaviors/{name}")
    ask(connection, "PUT", S, json.dumps({"dim": 4, "groups": 2, "bits": 2}))
    ask(connection, "PUT", f"{S}/items", json.dumps({"items": [0, 1, 2], "vectors": [[1, 0, 0, 1], [0, 1, 0, 1], [1, 1, 1, 1]]}))
    behaviors = [{"user": 7 + at % 2, "event": at, "time": 1000 + at, "item": at % 3} for at in range(100, 140)]
    ask(connection, "POST", f"{S}/append", json.dumps({"behaviors": behaviors}))
    ask(connection, "POST", f"{S}/snapshots", json.dumps({"name": "kept"}))
    for name in "fuzz", "fuzz2", "fuzz3", "fuzz4", "fuzz5":
        ask(connection, "DELETE", f"/nearline/v1/tables/{name}")
    ask(connection, "PUT", T, json.dumps(TRAINED))
    ask(connection, "PUT", "/nearline/v1/tables/fuzz5", json.dumps({**TRAINED, "method": "dynamic", "budget": 4000, "expire_writes": 9}))
    rows = [[at, 1, 2, at / 7] for at in range(30)]
    ask(connection, "POST", "/nearline/v1/tables/fuzz4/fit", json.dumps({"rows": rows, "method": "float", "budget": 10000}))


def complete(document):
    known = {(path, method) for path, method, _, _ in REQUESTS}
    there = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    if known != there:
        raise SystemExit(f"without a request here: {sorted(there - known)}; not in the document: {sorted(known - there)}")


class Schemas:
    """What the document says of bodies and results. Without `jsonschema` nothing is held against it."""

    def __init__(self, document):
        self.document, self.checked, self.validators = document, 0, {}

    def wrong(self, route, method, part, value):
        """What of a value is not as the document says."""
        if jsonschema is None:
            return None
        if (route, method, part) not in self.validators:
            operation = self.document["paths"][route][method.lower()]
            content = (operation["requestBody"] if part == "body" else operation["responses"]["200"])["content"]
            schema = plain({**content["application/json"]["schema"], "components": self.document["components"]})
            self.validators[route, method, part] = lenient()(schema)
        self.checked += 1
        error = next(self.validators[route, method, part].iter_errors(value), None)
        return error and f"{part} is not as in the document: {error.message[:300]} at {list(error.absolute_path)}"


def lenient():
    """A validator that takes lists for objects, as the reader does: members in their order. The document does not say so."""
    strict = jsonschema.Draft7Validator

    def of_objects(check):
        def checked(validator, value, instance, schema):
            yield from () if isinstance(instance, list) else check(validator, value, instance, schema) or ()
        return checked

    keywords = {name: of_objects(strict.VALIDATORS[name]) for name in ("required", "properties", "additionalProperties")}
    types = strict.TYPE_CHECKER.redefine("object", lambda _, value: isinstance(value, (dict, list)))
    return jsonschema.validators.extend(strict, validators=keywords, type_checker=types)


def plain(schema):
    """A schema of OpenAPI 3.0 as one of JSON Schema, which says otherwise what may be null."""
    if isinstance(schema, list):
        return [plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    same = {key: plain(part) for key, part in schema.items() if key != "nullable"}
    return {"anyOf": [{"type": "null"}, same]} if schema.get("nullable") is True else same


def fault(connection, schemas, route, method, path, body, kind):
    """What is wrong with the answer, if something is; and its status."""
    connection.request(method, path, body, {"content-type": kind} if kind else {})
    answer = connection.getresponse()
    text = answer.read()
    # Damaged archives and files of the database would be 500, too, but there are none here.
    if answer.status >= 500:
        return f"{answer.status} {text[:400]}", answer.status
    if answer.status >= 400 and method != "HEAD":
        try:
            error = json.loads(text)["status"]["error"]
        except (ValueError, KeyError, TypeError):
            return f"{answer.status} without an envelope: {text[:400]}", answer.status
        if not isinstance(error, str) or not error:
            return f"{answer.status} says nothing: {text[:400]}", answer.status
    wrong = None
    # Damaged paths may be those of other routes.
    if answer.status == 200 and route and answer.getheader("content-type") == "application/json" and b'"status":"ok"' in text:
        wrong = schemas.wrong(route, method, "result", json.loads(text))
        if body and kind == "application/json":
            try:
                wrong = wrong or schemas.wrong(route, method, "body", json.loads(body))
            except ValueError:
                # What Python's own reader refuses, such as halves of surrogates.
                pass
    return wrong, answer.status


def ask_all(server, chance, count):
    """What was wrong, and how many answers had which status."""
    statuses, faults = {}, []
    connection = http.client.HTTPConnection(server.address, timeout=30)
    connection.request("GET", "/openapi.json")
    document = json.loads(connection.getresponse().read())
    complete(document)
    schemas = Schemas(document)
    # What is damaged must have been right.
    for route, method, path, bodies in REQUESTS:
        for body in bodies:
            if isinstance(body, dict) and "recover" not in path:
                ask(connection, "DELETE", "/collections/fuzz2")
                populate(connection)
                ask(connection, method, path, json.dumps(body).encode())
                wrong = schemas.wrong(route, method, "body", body)
                if wrong:
                    faults.append(wrong)
                    print(f"{method} {path}: {wrong}", flush=True)
    for at in range(count):
        if at % 200 == 0:
            populate(connection)
        asked = request(chance)
        try:
            wrong, status = fault(connection, schemas, *asked)
            statuses[status] = statuses.get(status, 0) + 1
        except (OSError, http.client.HTTPException) as error:
            if server.process.poll() is not None:
                raise SystemExit(f"request {at} ended the server: {asked}") from error
            wrong = f"no answer: {error!r}"
            connection = http.client.HTTPConnection(server.address, timeout=30)
        if wrong:
            faults.append(wrong)
            print(f"request {at}: {asked[1]} {asked[2]} {asked[3][:2000]} ({asked[4]}): {wrong}", flush=True)
    ask(server.connect(), "GET", "/collections")
    print(f"{schemas.checked} bodies and results held against the document{'' if jsonschema else ': there is no jsonschema'}")
    return faults, statuses


def main():
    binary, count, seed = sys.argv[1], int((sys.argv[2:] + ["5000"])[0]), int((sys.argv[3:] + ["1"])[0])
    with tempfile.TemporaryDirectory() as database:
        server = Server(binary, database)
        try:
            faults, statuses = ask_all(server, random.Random(seed), count)
        finally:
            server.kill()
    print(f"{count} requests, {len(faults)} faults; answers by status: {dict(sorted(statuses.items()))}")
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
