"""Texts with metadata, embeddings that need no model, and the answers by brute force."""

import functools
import hashlib
import random

import numpy as np

DIM = 48
WORDS = """amber basin canyon delta ember fjord glacier harbour island jungle karst lagoon meadow nebula oasis prairie quarry
river summit tundra upland valley waterfall yard zenith""".split()


@functools.cache
def direction(word):
    """A direction of its own for each word, the same on every machine."""
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).normal(size=DIM)


def embed(text):
    """A vector of length 1; texts that share words are near to each other."""
    total = np.sum([direction(word) for word in text.split()], axis=0)
    return (total / np.linalg.norm(total)).astype(np.float32).tolist()


def corpus(count, seed=1):
    """Texts of different words, each with metadata."""
    chance = random.Random(seed)
    texts = set()
    while len(texts) < count:
        texts.add(" ".join(sorted(chance.sample(WORDS, 5))))
    texts = sorted(texts)
    metadata = [
        {"n": at, "year": 2000 + at % 25, "price": at / 4, "kind": chance.choice(["map", "photo", "chart"]),
         "tags": chance.sample(["wet", "dry", "cold", "hot"], 2)}
        for at in range(count)
    ]
    return texts, metadata


class Oracle:
    """Compares everything. Answers are pairs of a text and its score, a cosine."""

    def __init__(self, texts, metadata):
        self.texts, self.metadata = list(texts), list(metadata)
        self.vectors = np.array([embed(text) for text in texts], dtype=np.float64)

    def remove(self, drop):
        """Forgets what matches."""
        kept = [at for at, data in enumerate(self.metadata) if not drop(data)]
        self.__init__([self.texts[at] for at in kept], [self.metadata[at] for at in kept])

    def matching(self, keep):
        return {text for text, data in zip(self.texts, self.metadata) if keep(data)}

    def nearest(self, query, k, keep=lambda data: True, offset=0):
        scores = self.vectors @ np.array(embed(query))
        order = [at for at in np.argsort(-scores, kind="stable") if keep(self.metadata[at])]
        return [(self.texts[at], scores[at]) for at in order[offset:offset + k]]

    def mmr(self, query, k, candidates, diversity):
        """The texts chosen one by one: near to the query, unlike those that are chosen already."""
        to_query = self.vectors @ np.array(embed(query))
        left = list(np.argsort(-to_query, kind="stable")[:candidates])
        chosen = [left.pop(0)]
        while left and len(chosen) < k:
            alike = (self.vectors[left] @ self.vectors[chosen].T).max(axis=1)
            worth = (1 - diversity) * to_query[left] - diversity * alike
            chosen.append(left.pop(int(np.argmax(worth))))
        return [self.texts[at] for at in chosen]

    def check(self, found, query, k, keep=lambda data: True, offset=0):
        """That these are the nearest, with their scores. Points of equal scores may change places."""
        wanted = self.nearest(query, k, keep, offset)
        assert len(found) == len(wanted), f"{len(found)} found, not {len(wanted)}"
        of_all = dict(self.nearest(query, len(self.texts), keep))
        for (text, score), (right, best) in zip(found, wanted):
            assert text in of_all, f"{text!r} does not match"
            assert abs(score - of_all[text]) < 1e-4, f"{text!r} has {score}, not {of_all[text]}"
            assert abs(score - best) < 1e-4, f"{text!r} ({score}) in the place of {right!r} ({best})"
