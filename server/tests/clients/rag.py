"""Retrieval as an application does it: papers with their embeddings over HTTP, asked for by titles, with and without filters.

    python3 server/tests/clients/rag.py BINARY [TARGET] [QUERIES]

Half of the titles, every second one, calibrate the collection (`/nearline/v1/collections/{name}/calibrate`): titles are unlike
abstracts. Only the others are scored. The data is the set `papers-minilm-384-40k` in `$NEARLINE_DATASETS` (`../shared/datasets` unless told otherwise). Without it
nothing is tested, which is said. Recall@10 is that of the exact answers; nDCG@10 is of the papers whose titles they are, beside
what exact search reaches. It fails where either is more than 0.01 below: the recall below its target (0.95 unless told otherwise), nDCG below exact
search. numpy is needed, and nothing else.
"""

import gzip
import json
import os
import pathlib
import sys
import tempfile
import time

import numpy as np

from kill import Server, ask

SET = "papers-minilm-384-40k"
# What exact search reaches without a filter, as the description of the data says.
EXACT_NDCG = 0.6069
SLACK = 0.01
K = 10
BATCH = 500
# Seconds that a request may take.
PATIENCE = 600


def match(key, value):
    return {"key": key, "match": {"value": value}}


# A name, a filter, and the same for the truth.
FILTERS = [
    ("none", None, lambda venue, year: np.ones(len(year), dtype=bool)),
    ("venue = cvpr", {"must": [match("venue", "cvpr")]}, lambda venue, year: venue == "cvpr"),
    ("venue = iros or icra", {"should": [match("venue", "iros"), match("venue", "icra")]},
     lambda venue, year: (venue == "iros") | (venue == "icra")),
    ("year from 2018 to 2021", {"must": [{"key": "year", "range": {"gte": 2018, "lte": 2021}}]},
     lambda venue, year: (year >= 2018) & (year <= 2021)),
    ("venue = nips, year from 2015", {"must": [match("venue", "nips"), {"key": "year", "range": {"gte": 2015}}]},
     lambda venue, year: (venue == "nips") & (year >= 2015)),
    ("not iros, year before 2000", {"must": [{"key": "year", "range": {"lt": 2000}}], "must_not": [match("venue", "iros")]},
     lambda venue, year: (venue != "iros") & (year < 2000)),
]


class Papers:
    def __init__(self, folder):
        self.documents = lines(folder / f"{SET}.docs.jsonl.gz")
        self.vectors = halves(folder / f"{SET}.base.f16bin.gz")
        self.queries = halves(folder / f"{SET}.query.f16bin.gz")
        self.venue = np.array([document["venue"] for document in self.documents])
        self.year = np.array([document["year"] for document in self.documents])
        self.relevant = {}
        with gzip.open(folder / f"{SET}.qrels.tsv.gz", "rt") as file:
            for query, document, grade in (map(int, line.split()) for line in file):
                self.relevant.setdefault(query, {})[document] = grade


def lines(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def halves(path):
    with gzip.open(path) as file:
        rows, dim = np.frombuffer(file.read(8), dtype="<u4")
        return np.frombuffer(file.read(), dtype="<f2").reshape(rows, dim).astype(np.float32)


def load(connection, papers):
    """Seconds until all is written, and until the vector index has all."""
    begin = time.monotonic()
    dim = papers.vectors.shape[1]
    ask(connection, "PUT", "/collections/papers", json.dumps({"vectors": {"size": dim, "distance": "Dot"}}))
    for field, schema in (("venue", "keyword"), ("year", "integer")):
        body = json.dumps({"field_name": field, "field_schema": schema})
        ask(connection, "PUT", "/collections/papers/index?wait=true", body)
    for start in range(0, len(papers.vectors), BATCH):
        points = [
            {"id": at, "vector": papers.vectors[at].tolist(),
             "payload": {name: papers.documents[at][name] for name in ("venue", "year", "title", "text")}}
            for at in range(start, min(start + BATCH, len(papers.vectors)))
        ]
        ask(connection, "PUT", "/collections/papers/points", json.dumps({"points": points}))
    written = time.monotonic() - begin
    while ask(connection, "GET", "/collections/papers")["status"] != "green":
        time.sleep(0.2)
    return written, time.monotonic() - begin


def calibrate(connection, papers, titles, target):
    """Measures with these titles how widely the index must be searched, and shows what they say of the target."""
    body = papers.queries[titles].astype("<f4").tobytes()
    begin = time.monotonic()
    answer = ask(connection, "POST", f"/nearline/v1/collections/papers/calibrate?limit={K}", body, "application/octet-stream")
    print(f"calibrated with {answer['queries']} other titles in {time.monotonic() - begin:.1f} s", flush=True)
    for found in answer["targets"]:
        if found["target_recall"] >= target - 1e-6:
            print("  target {target_recall:.2f}: recall {recall_before:.4f} with {lists_before:.1f} lists before; {factor:.2f} times "
                  "as many: {recall:.4f}, at least {recall_at_least:.4f}, with {lists:.1f}".format(**found))


def nearest(vectors, query):
    """The places of the nearest of these vectors, nearest first, and the scores of all."""
    scores = vectors @ query
    best = np.argpartition(-scores, min(K, len(scores)) - 1)[:K]
    return best[np.argsort(-scores[best], kind="stable")], scores


def check_data(papers):
    """Exact search has the figure that the description of the data says."""
    found = [ndcg(nearest(papers.vectors, papers.queries[query])[0].tolist(), papers.relevant[query])
             for query in range(len(papers.queries))]
    assert abs(np.mean(found) - EXACT_NDCG) < 1e-3, f"exact search has {np.mean(found):.4f}, not {EXACT_NDCG}"


def ndcg(found, relevant):
    """nDCG@10 of a list of documents, with the gain 2^grade - 1."""
    def worth(grades):
        return sum((2 ** grade - 1) / np.log2(place + 2) for place, grade in enumerate(grades))

    best = worth(sorted(relevant.values(), reverse=True)[:K])
    return worth(relevant.get(document, 0) for document in found[:K]) / best


def measure(connection, papers, condition, allowed, target, queries):
    """Recall, nDCG of these answers and of exact ones, and milliseconds of each query."""
    rows = np.flatnonzero(allowed)
    vectors = papers.vectors[rows]
    recalls, own, exact, times = [], [], [], []
    for query in queries:
        best, scores = nearest(vectors, papers.queries[query])
        truth = rows[best]
        body = {"query": papers.queries[query].tolist(), "limit": K, "params": {"target_recall": target}}
        if condition:
            body["filter"] = condition
        body = json.dumps(body)
        begin = time.monotonic()
        found = [point["id"] for point in ask(connection, "POST", "/collections/papers/points/query", body)["points"]]
        times.append((time.monotonic() - begin) * 1000)
        assert len(set(found)) == min(K, len(rows)) and allowed[found].all(), f"query {query} found {found}"
        # Of two that are as near as each other either is right.
        least = scores[best[-1]] - 1e-6
        recalls.append(np.mean(papers.vectors[found] @ papers.queries[query] >= least))
        relevant = {document: grade for document, grade in papers.relevant[query].items() if allowed[document]}
        if relevant:
            own.append(ndcg(found, relevant))
            exact.append(ndcg(truth.tolist(), relevant))
    return np.mean(recalls), np.mean(own), np.mean(exact), np.array(times)


def main():
    binary, target, most = sys.argv[1], float((sys.argv[2:] + ["0.95"])[0]), int((sys.argv[3:] + ["2000"])[0])
    folder = pathlib.Path(os.environ.get("NEARLINE_DATASETS", "../shared/datasets")) / "vectors"
    if not (folder / f"{SET}.base.f16bin.gz").exists():
        print(f"NOT TESTED: there is no {SET} in {folder}; NEARLINE_DATASETS names the folder of data sets", flush=True)
        return
    papers = Papers(folder)
    check_data(papers)
    # Calibrating compares every title with every paper, which takes a while on a busy machine.
    os.environ.setdefault("NEARLINE_SERVE_REQUEST_SECONDS", str(PATIENCE))
    with tempfile.TemporaryDirectory() as database:
        server = Server(binary, database)
        try:
            connection = server.connect()
            connection.timeout = PATIENCE
            written, indexed = load(connection, papers)
            print(f"{len(papers.vectors)} papers written in {written:.1f} s, indexed after {indexed:.1f} s", flush=True)
            titles = np.arange(min(most, len(papers.queries)))
            calibrate(connection, papers, titles[1::2], target)
            print("| filter | papers | recall@10 | nDCG@10 | of exact search | p50 ms | p99 ms |")
            print("| --- | --- | --- | --- | --- | --- | --- |")
            missed = []
            for name, condition, keep in FILTERS:
                allowed = keep(papers.venue, papers.year)
                recall, own, exact, times = measure(connection, papers, condition, allowed, target, titles[::2])
                p50, p99 = np.percentile(times, [50, 99])
                print(f"| {name} | {allowed.sum()} | {recall:.4f} | {own:.4f} | {exact:.4f} | {p50:.2f} | {p99:.2f} |",
                      flush=True)
                if recall < target - SLACK or own < exact - SLACK:
                    missed.append(name)
        finally:
            server.kill()
    if missed:
        raise SystemExit(f"MISSED by more than {SLACK}: {', '.join(missed)}")


if __name__ == "__main__":
    main()
