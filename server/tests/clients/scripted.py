"""A walk through what clients do, whose end is known."""

import sys
import time

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

url = sys.argv[1]
client = QdrantClient(url, timeout=30)


def refused(status, text, call):
    try:
        call()
    except UnexpectedResponse as error:
        assert error.status_code == status, f"{error.status_code}, not {status}: {error.content}"
        assert text in error.structured()["status"]["error"], error.content
    else:
        raise AssertionError(f"not refused: expected {status} {text}")


def clean(*names):
    for name in names:
        client.delete_collection(name)


def collections():
    clean("walk")
    assert not client.collection_exists("walk")
    assert client.delete_collection("walk") is False
    refused(404, "Not found: Collection `walk` doesn't exist!", lambda: client.get_collection("walk"))
    client.create_collection(
        "walk",
        vectors_config=models.VectorParams(
            size=4, distance=models.Distance.COSINE, on_disk=True, datatype=models.Datatype.FLOAT16,
            hnsw_config=models.HnswConfigDiff(m=8),
        ),
        hnsw_config=models.HnswConfigDiff(m=32, ef_construct=200),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=1000),
        quantization_config=models.ScalarQuantization(
            scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8)
        ),
        on_disk_payload=True,
        metadata={"model": "mini", "n": 1},
    )
    refused(409, "already exists", lambda: client.create_collection(
        "walk", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT)
    ))
    info = client.get_collection("walk")
    assert info.status == models.CollectionStatus.GREEN
    assert info.config.hnsw_config.m == 32 and info.config.hnsw_config.ef_construct == 200
    assert info.config.params.vectors.hnsw_config.m == 8 and info.config.params.vectors.on_disk
    assert info.config.params.vectors.datatype == models.Datatype.FLOAT16
    assert info.config.optimizer_config.indexing_threshold == 1000
    assert info.config.quantization_config.scalar.type == models.ScalarType.INT8
    assert info.config.metadata == {"model": "mini", "n": 1}
    client.update_collection(
        "walk", hnsw_config=models.HnswConfigDiff(m=24), metadata={"n": 2},
        quantization_config=models.Disabled.DISABLED,
    )
    info = client.get_collection("walk")
    assert info.config.hnsw_config.m == 24 and info.config.hnsw_config.ef_construct == 200
    assert info.config.quantization_config is None
    assert info.config.metadata == {"model": "mini", "n": 2}
    assert "walk" in [collection.name for collection in client.get_collections().collections]


def aliases():
    clean("walk", "other")
    for name in ("walk", "other"):
        client.create_collection(name, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    client.update_collection_aliases([models.CreateAliasOperation(
        create_alias=models.CreateAlias(collection_name="walk", alias_name="live")
    )])
    client.upsert("live", [models.PointStruct(id=1, vector=[1, 2])])
    assert client.count("walk").count == 1 and client.collection_exists("live")
    client.update_collection_aliases([
        models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name="live")),
        models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name="other", alias_name="live")),
    ])
    assert client.count("live").count == 0
    assert [a.alias_name for a in client.get_collection_aliases("other").aliases] == ["live"]
    assert client.get_collection_aliases("walk").aliases == []
    clean("other")
    assert client.get_aliases().aliases == []


def uploads():
    clean("walk")
    client.create_collection("walk", vectors_config=models.VectorParams(size=16, distance=models.Distance.EUCLID))
    vectors = np.random.default_rng(1).normal(size=(3000, 16)).astype(np.float32)
    client.upload_collection("walk", vectors=vectors[:1000], payload=[{"n": i} for i in range(1000)], ids=range(1000))
    points = (models.PointStruct(id=i, vector=vectors[i].tolist(), payload={"n": i}) for i in range(1000, 2000))
    client.upload_points("walk", points, batch_size=100, parallel=2)
    client.upsert("walk", models.Batch(
        ids=list(range(2000, 3000)), vectors=vectors[2000:].tolist(), payloads=[{"n": i} for i in range(2000, 3000)]
    ), wait=True)
    assert client.count("walk").count == 3000
    client.create_payload_index("walk", "n", models.PayloadSchemaType.INTEGER)
    for _ in range(200):
        info = client.get_collection("walk")
        if info.status == models.CollectionStatus.GREEN:
            break
        time.sleep(0.1)
    assert info.status == models.CollectionStatus.GREEN and info.points_count == 3000
    assert info.payload_schema["n"].data_type == models.PayloadSchemaType.INTEGER
    found = client.query_points(
        "walk", vectors[1234].tolist(), limit=1, with_vectors=True,
        search_params=models.SearchParams(exact=True),
    ).points[0]
    assert found.id == 1234 and found.score < 1e-3 and np.allclose(found.vector, vectors[1234])
    even = models.Filter(must=[models.FieldCondition(key="n", range=models.Range(gte=2990))])
    assert client.count("walk", count_filter=even).count == 10
    assert {p.id for p in client.query_points("walk", vectors[0], query_filter=even, limit=50).points} == set(
        range(2990, 3000)
    )


def snapshots():
    made = client.create_snapshot("walk")
    assert made.size > 0 and made.name in [s.name for s in client.list_snapshots("walk")]
    archive = client.http.client._client.get(f"{url}/collections/walk/snapshots/{made.name}")
    assert archive.status_code == 200 and len(archive.content) > made.size and b"COLLECTION" in archive.content
    assert client.delete_snapshot("walk", made.name)
    assert client.list_snapshots("walk") == []
    refused(404, "Not found", lambda: client.delete_snapshot("walk", made.name))


def migrations():
    clean("walk", "back")
    memory = QdrantClient(":memory:")
    memory.create_collection("back", vectors_config={
        "a": models.VectorParams(size=3, distance=models.Distance.COSINE),
        "b": models.VectorParams(size=2, distance=models.Distance.MANHATTAN),
    })
    memory.upsert("back", [
        models.PointStruct(id=i, vector={"a": [i + 1, 2, 3], "b": [i, 1]}, payload={"n": i}) for i in range(250)
    ])
    memory.migrate(client, ["back"])
    assert client.count("back").count == 250
    client.create_payload_index("back", "n", models.PayloadSchemaType.INTEGER)
    again = QdrantClient(":memory:")
    client.migrate(again, ["back"])
    first, _ = memory.scroll("back", limit=300, with_vectors=True)
    last, _ = again.scroll("back", limit=300, with_vectors=True)
    assert [(p.id, p.payload) for p in first] == [(p.id, p.payload) for p in last]
    for before, after in zip(first, last):
        for name in ("a", "b"):
            assert np.allclose(before.vector[name], after.vector[name], atol=1e-6)


def refusals():
    clean("walk")
    client.create_collection("walk", vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    client.upsert("walk", [models.PointStruct(id=1, vector=[1, 2])])
    refused(400, "Wrong input", lambda: client.upsert("walk", [models.PointStruct(id=2, vector=[1, 2, 3])]))
    refused(400, "Wrong input", lambda: client.query_points("walk", [1.0]))
    refused(400, "Not existing vector name", lambda: client.query_points("walk", [1.0, 2.0], using="x"))
    refused(404, "No point with id 9 found", lambda: client.query_points("walk", 9))
    refused(404, "No point with id 9 found", lambda: client.set_payload("walk", {"a": 1}, points=[1, 9]))
    refused(400, "prefetches: none", lambda: client.query_points("walk", models.FusionQuery(fusion="rrf")))
    refused(400, "Not existing vector name", lambda: client.search_matrix_pairs("walk", using="x"))
    refused(422, "Validation error", lambda: client.facet("walk", "a", limit=0))
    refused(422, "Validation error", lambda: client.query_points("walk", [1.0, 2.0], limit=0))
    refused(404, "Not found", lambda: client.query_points("nowhere", [1.0, 2.0]))


# Uploads in parallel start processes that read this file again.
if __name__ == "__main__":
    for step in (collections, aliases, uploads, snapshots, migrations, refusals):
        step()
        print("ok:", step.__name__, flush=True)
    clean("walk", "back")
