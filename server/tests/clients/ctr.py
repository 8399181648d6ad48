"""Whether somebody will look at an item next, predicted with what a behaviour space answers, beside other ways to use a long history.

    python3 server/tests/clients/ctr.py BINARY SEQUENCES [SEEDS] [USERS]

SEQUENCES is a text file, perhaps with .gz: a line for each user, its number, a tab, and items with blanks between them, oldest first. Of each user with
40 behaviours or more (USERS of them at most, those with the longest histories) the first four fifths are the history and go to the server; each later
item is asked about, beside an item by chance from a history of somebody else. Vectors of items come from the histories alone: co-occurrences within
five places, positive pointwise mutual information, singular values. A small network sees the candidate, the last ten behaviours, and the long history
in one of these ways; it is trained on 70 of 100 users and judged on the others. Only numpy is needed.
"""

import gzip
import http.client
import io
import json
import subprocess
import sys
import tempfile
import threading
import time

import numpy

DIM = 32
GROUPS, BITS = 16, 3
SHORT, LONGEST_AGO = 10, 40
SCALE = 8.0


class Server:
    def __init__(self, binary, folder):
        self.process = subprocess.Popen(
            [binary, "serve", "--db", folder, "--listen", "127.0.0.1:0", "--memory", "256MiB"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.process.stdout:
            if "listening on http://" in line:
                self.address = line.split("http://")[1].split()[0]
                break
        else:
            raise RuntimeError(f"the server did not start: {self.process.wait()}")
        threading.Thread(target=lambda: self.process.stdout.read(), daemon=True).start()
        self.connection = http.client.HTTPConnection(self.address, timeout=60)

    def ask(self, method, path, body, kind="application/json", accept="application/json"):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.connection.request(method, "/nearline/v1/behaviors/" + path, body, {"content-type": kind, "accept": accept})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:300]}")
        return numpy.load(io.BytesIO(content)) if accept == "application/x-npy" else json.loads(content)["result"]


def sequences(path, most):
    opened = gzip.open(path, "rt") if path.endswith(".gz") else open(path)
    with opened as lines:
        found = [[int(item) for item in line.split("\t")[1].split()] for line in lines]
    found = sorted((one for one in found if len(one) >= LONGEST_AGO), key=len, reverse=True)[:most]
    names = {item: at for at, item in enumerate(sorted({item for one in found for item in one}))}
    return [numpy.array([names[item] for item in one]) for one in found], len(names)


def vectors(histories, items):
    """Of length 1, or zero for items that are in no history."""
    counts = numpy.zeros((items, items), numpy.float32)
    for history in histories:
        for apart in range(1, 6):
            numpy.add.at(counts, (history[:-apart], history[apart:]), 1.0)
    counts += counts.T
    totals = counts.sum(1)
    with numpy.errstate(divide="ignore", invalid="ignore"):
        information = numpy.log(counts * totals.sum() / totals[:, None] / totals[None, :])
    information[~numpy.isfinite(information) | (information < 0)] = 0
    # The largest singular values, by a few rounds of powers of a random subspace.
    basis = numpy.random.default_rng(0).normal(size=(items, DIM + 16)).astype(numpy.float32)
    for _ in range(8):
        basis, _ = numpy.linalg.qr(information @ (information.T @ basis))
    left, values, _ = numpy.linalg.svd(basis.T @ information, full_matrices=False)
    found = (basis @ left)[:, :DIM] * numpy.sqrt(values[:DIM])
    return found / numpy.maximum(numpy.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def categories(table, count=20):
    """A category for each item, by k-means."""
    random = numpy.random.default_rng(1)
    centres = table[random.choice(len(table), count, replace=False)]
    for _ in range(25):
        nearest = numpy.argmax(table @ centres.T, axis=1)
        for at in range(count):
            if (nearest == at).any():
                centres[at] = table[nearest == at].mean(0)
        centres /= numpy.maximum(numpy.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    return nearest


def of_category(history, items, table, category):
    """The mean of the behaviours of a candidate's category (SIM, hard search)."""
    found = numpy.zeros((len(items), DIM), numpy.float32)
    for at, item in enumerate(items):
        same = history[category[history] == category[item]]
        if len(same):
            found[at] = table[same].mean(0)
    return found


def ways(server, table, histories, questions):
    """What each way sees of the long history, for all questions of all users, back to back."""
    category = categories(table)
    asked = [(user, items) for user, items in enumerate(questions)]
    long = {"mean pooling": [], "SIM hard": [], "exact attention": []}
    for user, items in asked:
        history = histories[user]
        long["mean pooling"].append(numpy.repeat(table[history].mean(0, keepdims=True), len(items), 0))
        long["SIM hard"].append(of_category(history, items, table, category))
        exact = {"user": user, "items": items.tolist(), "scale": SCALE, "at": len(history)}
        long["exact attention"].append(server.ask("POST", "l2/exact_attention", exact, accept="application/x-npy"))
    long = {name: numpy.concatenate(parts) for name, parts in long.items()}
    for name, space in [("SDIM, by length", "l2"), ("SDIM, by number", "count")]:
        parts, started = [], time.perf_counter()
        for first in range(0, len(asked), 50):
            queries = [{"user": user, "items": items.tolist()} for user, items in asked[first:first + 50]]
            parts.append(server.ask("POST", f"{space}/interest", {"queries": queries}, accept="application/x-npy"))
        long[name] = numpy.concatenate(parts)
        print(f"  {name}: {len(long[name]) / (time.perf_counter() - started):,.0f} candidates a second over HTTP", flush=True)
    # What the server answers is what the formula says.
    check_exact(long["exact attention"], table, histories, asked)
    return long


def check_exact(found, table, histories, asked):
    user, items = asked[0]
    products = SCALE * table[items] @ table[histories[user]].T
    weights = numpy.exp(products - products.max(1, keepdims=True))
    expected = weights / weights.sum(1, keepdims=True) @ table[histories[user]]
    assert numpy.allclose(found[:len(items)], expected, atol=1e-5)


def features(candidates, short, long):
    parts = [candidates, short, candidates * short, (candidates * short).sum(1, keepdims=True)]
    if long is not None:
        length = numpy.maximum(numpy.linalg.norm(long, axis=1, keepdims=True), 1e-12)
        product = (candidates * long).sum(1, keepdims=True)
        parts += [long, candidates * long, product, product / length]
    return numpy.concatenate(parts, axis=1).astype(numpy.float32)


def trained(inputs, labels, seed, rounds=12, width=32, batch=256):
    """A network with one hidden layer, trained with Adam; gives the function from inputs to scores."""
    random = numpy.random.default_rng(seed)
    mean, spread = inputs.mean(0), inputs.std(0) + 1e-6
    weights = [random.normal(size=(inputs.shape[1], width)) * (2 / inputs.shape[1]) ** 0.5, numpy.zeros(width),
               random.normal(size=width) * (2 / width) ** 0.5, numpy.zeros(1)]
    first, second, steps = [0 * one for one in weights], [0 * one for one in weights], 0
    inputs = (inputs - mean) / spread
    for _ in range(rounds):
        for rows in numpy.array_split(random.permutation(len(inputs)), max(1, len(inputs) // batch)):
            x, y = inputs[rows], labels[rows]
            hidden = numpy.maximum(x @ weights[0] + weights[1], 0)
            error = (1 / (1 + numpy.exp(-(hidden @ weights[2] + weights[3]))) - y) / len(rows)
            behind = numpy.outer(error, weights[2]) * (hidden > 0)
            slopes = [x.T @ behind + 1e-4 * weights[0], behind.sum(0), hidden.T @ error, error.sum(keepdims=True)]
            steps += 1
            for at, slope in enumerate(slopes):
                first[at] = 0.9 * first[at] + 0.1 * slope
                second[at] = 0.999 * second[at] + 0.001 * slope ** 2
                step = first[at] / (1 - 0.9 ** steps) / (numpy.sqrt(second[at] / (1 - 0.999 ** steps)) + 1e-8)
                weights[at] = weights[at] - 2e-3 * step
    return lambda x: numpy.maximum((x - mean) / spread @ weights[0] + weights[1], 0) @ weights[2] + weights[3]


def auc(scores, labels):
    order = numpy.argsort(scores, kind="stable")
    ranks = numpy.empty(len(scores))
    ranks[order] = numpy.arange(1, len(scores) + 1)
    positive = labels > 0
    return (ranks[positive].sum() - positive.sum() * (positive.sum() + 1) / 2) / (positive.sum() * (~positive).sum())


def load(server, table, histories):
    for space in ["l2", "count"]:
        options = {"dim": DIM, "groups": GROUPS, "bits": BITS, "seed": 1, "normalize": space}
        server.ask("PUT", space, options)
        server.ask("PUT", f"{space}/items?start=0", table.astype("<f4").tobytes(), "application/octet-stream")
        for user, history in enumerate(histories):
            places = numpy.arange(len(history))
            rows = numpy.stack([numpy.full(len(history), user), places, places, history], 1).astype("<u8")
            server.ask("POST", f"{space}/append", rows.tobytes(), "application/octet-stream")


def main():
    binary, path = sys.argv[1:3]
    seeds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    all_of, items = sequences(path, int(sys.argv[4]) if len(sys.argv) > 4 else 3000)
    histories = [one[:len(one) * 4 // 5] for one in all_of]
    table = vectors(histories, items).astype(numpy.float32)
    popular = numpy.concatenate(histories)
    random = numpy.random.default_rng(2)
    questions, labels, owners = [], [], []
    for user, one in enumerate(all_of):
        targets = one[len(histories[user]):]
        others = random.choice(popular, len(targets))
        questions.append(numpy.concatenate([targets, others]))
        labels.append(numpy.concatenate([numpy.ones(len(targets)), numpy.zeros(len(targets))]))
        owners.append(numpy.full(2 * len(targets), user))
    lengths = numpy.array([len(history) for history in histories])
    print(f"{len(all_of)} users, {items} items; histories of {numpy.median(lengths):.0f} behaviours (median), "
          f"{lengths.max()} at most; {sum(map(len, questions))} questions", flush=True)
    labels, owners = numpy.concatenate(labels), numpy.concatenate(owners)
    candidates = table[numpy.concatenate(questions)]
    short = numpy.stack([table[history[-SHORT:]].mean(0) for history in histories])[owners]
    with tempfile.TemporaryDirectory() as folder:
        server = Server(binary, folder)
        try:
            load(server, table, histories)
            long = ways(server, table, histories, questions)
        finally:
            server.process.terminate()
            server.process.wait()
    for name, seen in [("the last ten only", None), *long.items()]:
        inputs, found = features(candidates, short, seen), []
        for seed in range(seeds):
            training = numpy.random.default_rng(100 + seed).random(len(all_of)) < 0.7
            rows = training[owners]
            model = trained(inputs[rows], labels[rows], seed)
            found.append(auc(model(inputs[~rows]), labels[~rows]))
        print(f"  {name:18} AUC {numpy.mean(found):.4f} +- {numpy.std(found):.4f}", flush=True)


if __name__ == "__main__":
    main()
