"""Haystack's document store against brute force: documents in, nearest documents out, by filters of its own kind."""

import sys

from haystack import Document, Pipeline
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack_integrations.components.retrievers.qdrant import QdrantEmbeddingRetriever
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import QdrantClient

from oracle import DIM, Oracle, corpus, embed

NAME = "haystack"
QUERIES = ["glacier fjord summit", "lagoon oasis", "river river valley meadow"]


def document(at, text, metadata):
    return Document(id=f"d{at}", content=text, meta=metadata, embedding=embed(text))


def found(documents):
    return [(one.content, one.score) for one in documents]


def where(field, operator, value):
    return {"field": f"meta.{field}", "operator": operator, "value": value}


def both(operator, *conditions):
    return {"operator": operator, "conditions": list(conditions)}


def opened(url, **more):
    return QdrantDocumentStore(url=url, index=NAME, embedding_dim=DIM, progress_bar=False, timeout=30, **more)


def made(url):
    texts, metadata = corpus(300)
    store = opened(url, recreate_index=True, payload_fields_to_index=[
        {"field_name": "meta.kind", "field_schema": "keyword"}, {"field_name": "meta.year", "field_schema": "integer"},
    ])
    documents = [document(at, text, data) for at, (text, data) in enumerate(zip(texts, metadata))]
    assert store.write_documents(documents) == 300
    # A store on what is there: it compares the settings of the collection with its own.
    store = opened(url)
    assert store.count_documents() == 300
    return store, Oracle(texts, metadata)


def similar(store, oracle):
    retriever = QdrantEmbeddingRetriever(store, top_k=7)
    for query in QUERIES:
        oracle.check(found(retriever.run(embed(query))["documents"]), query, 7)
        scaled = retriever.run(embed(query), scale_score=True)["documents"]
        oracle.check([(one.content, one.score * 2 - 1) for one in scaled], query, 7)
        best = oracle.nearest(query, 10)
        between = (best[5][1] + best[6][1]) / 2
        assert len(retriever.run(embed(query), top_k=10, score_threshold=between)["documents"]) == 6
        whole = retriever.run(embed(query), top_k=1, return_embedding=True)["documents"][0]
        assert max(abs(a - b) for a, b in zip(whole.embedding, embed(whole.content))) < 1e-5
        assert whole.id == f"d{whole.meta['n']}" and whole.meta == oracle.metadata[whole.meta["n"]]
    pipeline = Pipeline()
    pipeline.add_component("retriever", retriever)
    answer = pipeline.run({"retriever": {"query_embedding": embed(QUERIES[0])}})
    oracle.check(found(answer["retriever"]["documents"]), QUERIES[0], 7)


def filtered(store, oracle):
    kind, late = where("kind", "==", "map"), where("year", ">=", 2015)
    cases = [
        (kind, lambda d: d["kind"] == "map"),
        (where("kind", "!=", "map"), lambda d: d["kind"] != "map"),
        (where("kind", "in", ["map", "chart"]), lambda d: d["kind"] in ("map", "chart")),
        (where("n", "not in", [1, 2, 3]), lambda d: d["n"] not in (1, 2, 3)),
        (where("price", "<", 7.25), lambda d: d["price"] < 7.25),
        (where("tags", "==", "wet"), lambda d: "wet" in d["tags"]),
        (both("AND", kind, late), lambda d: d["kind"] == "map" and d["year"] >= 2015),
        (both("OR", kind, late), lambda d: d["kind"] == "map" or d["year"] >= 2015),
        (both("NOT", kind, late), lambda d: not (d["kind"] == "map" or d["year"] >= 2015)),
        (both("AND", kind, both("OR", late, where("n", "<=", 20))),
         lambda d: d["kind"] == "map" and (d["year"] >= 2015 or d["n"] <= 20)),
    ]
    retriever = QdrantEmbeddingRetriever(store, top_k=6)
    for filters, keep in cases:
        assert {one.content for one in store.filter_documents(filters)} == oracle.matching(keep), filters
        assert store.count_documents_by_filter(filters) == len(oracle.matching(keep))
        for query in QUERIES:
            oracle.check(found(retriever.run(embed(query), filters=filters)["documents"]), query, 6, keep)


def grouped(store, oracle):
    retriever = QdrantEmbeddingRetriever(store, top_k=3, group_by="meta.kind", group_size=4)
    for query in QUERIES:
        documents = retriever.run(embed(query))["documents"]
        for kind in ("map", "photo", "chart"):
            of_kind = [one for one in documents if one.meta["kind"] == kind]
            oracle.check(found(of_kind), query, 4, lambda d: d["kind"] == kind)


def described(store, oracle):
    assert store.get_metadata_field_min_max("year") == {"min": 2000, "max": 2024}
    unique = store.count_unique_metadata_by_filter(where("kind", "==", "map"), ["year"])
    assert unique == {"year": len({d["year"] for d in oracle.metadata if d["kind"] == "map"})}
    assert "kind" in " ".join(store.get_metadata_fields_info())


def changed(store, oracle):
    again = document(7, oracle.texts[7], oracle.metadata[7])
    try:
        store.write_documents([again], policy=DuplicatePolicy.FAIL)
    except DuplicateDocumentError:
        pass
    else:
        raise AssertionError("a document that is there already was written")
    # Points without vectors are not found by vectors, only by filters.
    store.write_documents([Document(id="bare", content="zenith", meta={"n": 1000, "kind": "none"})])
    assert [one.id for one in store.filter_documents(where("kind", "==", "none"))] == ["bare"]
    store.delete_documents(["bare"])
    assert store.update_by_filter(where("n", "<", 10), {"kind": "old"}) == 10
    for data in oracle.metadata[:10]:
        data["kind"] = "old"
    retriever = QdrantEmbeddingRetriever(store, top_k=20)
    for query in QUERIES:
        old = retriever.run(embed(query), filters=where("kind", "==", "old"))["documents"]
        oracle.check(found(old), query, 20, lambda d: d["kind"] == "old")
    store.delete_documents([f"d{at}" for at in range(100, 150)])
    oracle.remove(lambda d: 100 <= d["n"] < 150)
    assert store.delete_by_filter(where("kind", "==", "old")) == 10
    oracle.remove(lambda d: d["kind"] == "old")
    assert store.count_documents() == len(oracle.texts) == 240
    for query in QUERIES:
        oracle.check(found(retriever.run(embed(query))["documents"]), query, 20)
    store.delete_all_documents()
    assert store.count_documents() == 0


def main(url):
    store, oracle = made(url)
    for step in (similar, filtered, grouped, described, changed):
        step(store, oracle)
        print("ok: haystack", step.__name__, flush=True)
    QdrantClient(url).delete_collection(NAME)


main(sys.argv[1])
