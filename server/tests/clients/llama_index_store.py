"""LlamaIndex's vector store against brute force: nodes in, nearest nodes out, by filters of its own kind."""

import asyncio
import sys
import uuid

from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition, FilterOperator, MetadataFilter, MetadataFilters, VectorStoreQuery,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from oracle import Oracle, corpus, embed

NAME = "llama-index"
QUERIES = ["glacier fjord summit", "lagoon oasis", "river river valley meadow"]


class Hashed(BaseEmbedding):
    def _get_query_embedding(self, query):
        return embed(query)

    def _get_text_embedding(self, text):
        return embed(text)

    async def _aget_query_embedding(self, query):
        return embed(query)


def id_of(at):
    return str(uuid.UUID(int=at + 1))


def document_of(at):
    return f"document-{at // 10}"


def node(at, text, metadata):
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document_of(at))}
    return TextNode(id_=id_of(at), text=text, metadata=metadata, embedding=embed(text), relationships=source)


def found(answer):
    return [(one.text, score) for one, score in zip(answer.nodes, answer.similarities)]


def ask(store, query, k, **more):
    return store.query(VectorStoreQuery(query_embedding=embed(query), similarity_top_k=k, **more))


def made(url):
    texts, metadata = corpus(300)
    client = QdrantClient(url, timeout=30)
    client.delete_collection(NAME)
    store = QdrantVectorStore(
        NAME, client=client, aclient=AsyncQdrantClient(url, timeout=30), batch_size=50,
        payload_indexes=[{"field_name": "kind", "field_schema": models.PayloadSchemaType.KEYWORD}],
    )
    nodes = [node(at, text, data) for at, (text, data) in enumerate(zip(texts, metadata))]
    assert store.add(nodes[:200]) == [id_of(at) for at in range(200)]
    store.add(nodes[200:])
    assert client.count(NAME).count == 300
    assert client.get_collection(NAME).payload_schema["kind"].data_type == models.PayloadSchemaType.KEYWORD
    # A store on what is there: it looks for the names of vectors.
    store = QdrantVectorStore(NAME, client=client, aclient=AsyncQdrantClient(url, timeout=30))
    return store, Oracle(texts, metadata)


def similar(store, oracle):
    for query in QUERIES:
        answer = ask(store, query, 7)
        oracle.check(found(answer), query, 7)
        assert answer.ids == [one.node_id for one in answer.nodes]
        assert all(id_of(one.metadata["n"]) == one.node_id for one in answer.nodes)
        asked = VectorStoreQuery(query_embedding=embed(query), similarity_top_k=4)
        oracle.check(found(asyncio.run(late(store, asked))), query, 4)


async def late(store, asked):
    """The same without waiting; a client belongs to its loop, so it is one of its own."""
    client = AsyncQdrantClient(store.client._client.rest_uri, timeout=30)
    other = QdrantVectorStore(NAME, client=store.client, aclient=client)
    answer = await other.aquery(asked)
    await client.close()
    return answer


def filtered(store, oracle):
    kind = MetadataFilter(key="kind", value="map")
    late_years = MetadataFilter(key="year", value=2015, operator=FilterOperator.GTE)
    cases = [
        (MetadataFilters(filters=[kind]), lambda d: d["kind"] == "map"),
        (MetadataFilters(filters=[kind, late_years]), lambda d: d["kind"] == "map" and d["year"] >= 2015),
        (MetadataFilters(filters=[kind, late_years], condition=FilterCondition.OR),
         lambda d: d["kind"] == "map" or d["year"] >= 2015),
        (MetadataFilters(filters=[kind, late_years], condition=FilterCondition.NOT),
         lambda d: not (d["kind"] == "map" or d["year"] >= 2015)),
        (MetadataFilters(filters=[MetadataFilter(key="price", value=7.25)]), lambda d: d["price"] == 7.25),
        (MetadataFilters(filters=[MetadataFilter(key="price", value=7.25, operator=FilterOperator.LT)]),
         lambda d: d["price"] < 7.25),
        (MetadataFilters(filters=[MetadataFilter(key="kind", value="map", operator=FilterOperator.NE)]),
         lambda d: d["kind"] != "map"),
        (MetadataFilters(filters=[MetadataFilter(key="kind", value=["map", "chart"], operator=FilterOperator.IN)]),
         lambda d: d["kind"] in ("map", "chart")),
        (MetadataFilters(filters=[MetadataFilter(key="kind", value=["map", "chart"], operator=FilterOperator.NIN)]),
         lambda d: d["kind"] == "photo"),
        (MetadataFilters(filters=[MetadataFilter(key="tags", value="wet")]), lambda d: "wet" in d["tags"]),
        (MetadataFilters(filters=[MetadataFilter(key="kind", value="chart", operator=FilterOperator.TEXT_MATCH)]),
         lambda d: d["kind"] == "chart"),
        (MetadataFilters(filters=[MetadataFilter(key="author", value=None, operator=FilterOperator.IS_EMPTY)]),
         lambda d: True),
        (MetadataFilters(filters=[kind, MetadataFilters(
            filters=[late_years, MetadataFilter(key="n", value=20, operator=FilterOperator.LTE)],
            condition=FilterCondition.OR)]),
         lambda d: d["kind"] == "map" and (d["year"] >= 2015 or d["n"] <= 20)),
    ]
    for filters, keep in cases:
        for query in QUERIES:
            oracle.check(found(ask(store, query, 6, filters=filters)), query, 6, keep)
        nodes = store.get_nodes(filters=filters)
        assert {one.text for one in nodes} == oracle.matching(keep)
    query = QUERIES[0]
    by_document = ask(store, query, 20, doc_ids=["document-3", "document-7"])
    oracle.check(found(by_document), query, 20, lambda d: d["n"] // 10 in (3, 7))
    by_id = ask(store, query, 20, node_ids=[id_of(1), id_of(2)])
    oracle.check(found(by_id), query, 20, lambda d: d["n"] in (1, 2))


def retrieved(store, oracle):
    """As an application does: an index on the store, and what retrieves from it."""
    index = VectorStoreIndex.from_vector_store(store, embed_model=Hashed())
    only = MetadataFilters(filters=[MetadataFilter(key="kind", value="photo")])
    retriever = index.as_retriever(similarity_top_k=5, filters=only)
    for query in QUERIES:
        nodes = retriever.retrieve(query)
        oracle.check([(one.node.text, one.score) for one in nodes], query, 5, lambda d: d["kind"] == "photo")
    index.insert_nodes([TextNode(id_=id_of(900), text="zenith zenith nebula", metadata={"kind": "photo"})])
    assert retriever.retrieve("zenith zenith nebula")[0].node.node_id == id_of(900)
    store.delete_nodes([id_of(900)])


def changed(store, oracle):
    assert {one.node_id for one in store.get_nodes([id_of(4), id_of(6)])} == {id_of(4), id_of(6)}
    store.delete("document-2")
    oracle.remove(lambda d: d["n"] // 10 == 2)
    store.delete_nodes([id_of(0), id_of(1)])
    oracle.remove(lambda d: d["n"] < 2)
    store.delete_nodes(filters=MetadataFilters(filters=[MetadataFilter(key="kind", value="map")]))
    oracle.remove(lambda d: d["kind"] == "map")
    assert store.client.count(NAME).count == len(oracle.texts)
    for query in QUERIES:
        oracle.check(found(ask(store, query, 8)), query, 8)
    store.clear()
    assert not store.client.collection_exists(NAME)


def main(url):
    store, oracle = made(url)
    for step in (similar, filtered, retrieved, changed):
        step(store, oracle)
        print("ok: llama-index", step.__name__, flush=True)


main(sys.argv[1])
