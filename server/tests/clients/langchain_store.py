"""LangChain's vector store against brute force: texts in, similar texts out, by scores, filters and diversity."""

import sys

from langchain_core.embeddings import Embeddings
from langchain_qdrant import QdrantVectorStore
from qdrant_client import QdrantClient, models

from oracle import Oracle, corpus, embed

NAME = "langchain"
QUERIES = ["glacier fjord summit", "lagoon oasis", "river river valley meadow"]


class Hashed(Embeddings):
    def embed_documents(self, texts):
        return [embed(text) for text in texts]

    def embed_query(self, text):
        return embed(text)


def condition(key, **what):
    return models.FieldCondition(key=f"metadata.{key}", **what)


def found(answer):
    return [(document.page_content, score) for document, score in answer]


def made(url):
    texts, metadata = corpus(300)
    client = QdrantClient(url, timeout=30)
    client.delete_collection(NAME)
    store = QdrantVectorStore.from_texts(
        texts[:100], Hashed(), metadatas=metadata[:100], ids=list(range(100)), url=url, collection_name=NAME
    )
    ids = store.add_texts(texts[100:], metadatas=metadata[100:], ids=list(range(100, 300)), batch_size=33, wait=True)
    assert ids == list(range(100, 300))
    # A store on what is there: it looks at the settings of the collection.
    store = QdrantVectorStore.from_existing_collection(NAME, embedding=Hashed(), url=url)
    assert client.count(NAME).count == 300
    return store, Oracle(texts, metadata)


def similar(store, oracle):
    for query in QUERIES:
        oracle.check(found(store.similarity_search_with_score(query, k=7)), query, 7)
        oracle.check(found(store.similarity_search_with_score(query, k=5, offset=3)), query, 5, offset=3)
        oracle.check(found(store.similarity_search_with_score_by_vector(embed(query), k=4)), query, 4)
        documents = store.similarity_search(query)
        assert [d.page_content for d in documents] == [text for text, _ in oracle.nearest(query, 4)]
        for document in documents:
            at = document.metadata["_id"]
            assert document.page_content == oracle.texts[at] and document.metadata["n"] == at
        best = oracle.nearest(query, 10)
        between = (best[5][1] + best[6][1]) / 2
        assert len(store.similarity_search_with_score(query, k=10, score_threshold=between)) == 6
        scaled = store.similarity_search_with_relevance_scores(query, k=3)
        oracle.check([(d.page_content, score * 2 - 1) for d, score in scaled], query, 3)
    retriever = store.as_retriever(search_type="mmr", search_kwargs={"k": 3})
    assert len(retriever.invoke(QUERIES[0])) == 3


def filtered(store, oracle):
    cases = [
        (models.Filter(must=[condition("kind", match=models.MatchValue(value="map"))]), lambda d: d["kind"] == "map"),
        (models.Filter(must=[condition("year", range=models.Range(gte=2010, lt=2015))]),
         lambda d: 2010 <= d["year"] < 2015),
        (models.Filter(must_not=[condition("kind", match=models.MatchAny(any=["map", "chart"]))]),
         lambda d: d["kind"] == "photo"),
        (models.Filter(must=[condition("tags", match=models.MatchValue(value="wet"))],
                       should=[condition("n", range=models.Range(lt=50)), condition("price", range=models.Range(gt=60))]),
         lambda d: "wet" in d["tags"] and (d["n"] < 50 or d["price"] > 60)),
        (models.Filter(must=[models.HasIdCondition(has_id=[3, 5, 8])]), lambda d: d["n"] in (3, 5, 8)),
    ]
    for wanted, keep in cases:
        for query in QUERIES:
            oracle.check(found(store.similarity_search_with_score(query, k=6, filter=wanted)), query, 6, keep)


def diverse(store, oracle):
    for query in QUERIES:
        for diversity in (0.0, 0.3, 0.5, 0.8):
            documents = store.max_marginal_relevance_search(query, k=6, fetch_k=30, lambda_mult=diversity)
            texts = [document.page_content for document in documents]
            assert texts == oracle.mmr(query, 6, 30, diversity), (query, diversity, texts)


def changed(store, oracle):
    assert [d.page_content for d in store.get_by_ids([7, 9])] == [oracle.texts[7], oracle.texts[9]]
    # The same id again: the text is replaced.
    new = "zenith nebula zenith"
    store.add_texts([new], metadatas=[{**oracle.metadata[7], "kind": "sketch"}], ids=[7])
    oracle.__init__([*oracle.texts[:7], new, *oracle.texts[8:]], oracle.metadata)
    oracle.check(found(store.similarity_search_with_score(new, k=3)), new, 3)
    assert store.similarity_search(new, k=1)[0].metadata["kind"] == "sketch"
    assert store.delete(ids=list(range(0, 300, 2)))
    oracle.remove(lambda d: d["n"] % 2 == 0)
    for query in QUERIES:
        oracle.check(found(store.similarity_search_with_score(query, k=8)), query, 8)
    assert store.client.count(NAME).count == len(oracle.texts) == 150


def main(url):
    store, oracle = made(url)
    for step in (similar, filtered, diverse, changed):
        step(store, oracle)
        print("ok: langchain", step.__name__, flush=True)
    store.client.delete_collection(NAME)


main(sys.argv[1])
