"""Calls by chance, made on a server and on the client's own in-memory mode: the answers must be the same.

Where the in-memory mode is known to differ from the dialect, or leaves something open (the order of equal scores), the
calls keep clear of it; `avoided` below says where.

avoided:
- a bool and a number, or a float that is whole and an integer, in one field: Python holds them to be equal
- `except` on fields with nulls, `values_count` with an upper bound on fields that are missing
- words of which one is a part of another: without an index, the in-memory mode looks for parts of words
- lists and objects given to several points at once: the in-memory mode lets them share one, and changes it in all of them
- payload calls on points that are not there: the in-memory mode ends in a KeyError
- filters around prefetches: the in-memory mode does not hand them on to the prefetches, and does not look at them at all when it
  fuses or has a formula; so it is asked with the filter in every prefetch
- a prefetch that is no list: the in-memory mode takes the prefetches inside of it for others beside it
- an id in the place of a query in a prefetch: the in-memory mode takes it only in `nearest`
- ids as examples in prefetches of groups: the in-memory mode does not look up their vectors
- `mmr` of one half by Manhattan: points that lie behind the query and a chosen point, seen from both, are all equal
- `offset` with `mmr`: the in-memory mode leaves out candidates, not points of the answer
- score thresholds of scores by several examples, where distances are compared: the in-memory mode takes these scores for distances
- ids of both kinds in a matrix: the in-memory mode cannot sort them; and points without the vector, on which it ends in a KeyError
- upserts of new points only, or of those that are there, by ids that were deleted: the in-memory mode still has them
- conditions `slice`, which the in-memory mode does not know
- a matrix, and a sample by chance, of fewer points than there are
- groups by a field of several values, when there are more groups than wanted: which of a point's values comes first is open
- `with_lookup` of points that were deleted: the in-memory mode still finds them
"""

import argparse
import math
import random
import uuid
from datetime import datetime, timedelta, timezone

from qdrant_client import QdrantClient, models

TOLERANCE = 1e-4
WORDS = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot"]
CITIES = ["Oslo", "Rome", "Lima", "Paris"]
EVERY = 10_000
START = datetime(2024, 1, 1, tzinfo=timezone.utc)

COLLECTIONS = {
    "cosine": {"": (models.Distance.COSINE, 8)},
    "dot": {"": (models.Distance.DOT, 5)},
    "euclid": {"": (models.Distance.EUCLID, 6)},
    "manhattan": {"": (models.Distance.MANHATTAN, 4)},
    "named": {"a": (models.Distance.COSINE, 4), "b": (models.Distance.EUCLID, 3)},
}


class Test:
    """One collection, on both sides."""

    def __init__(self, name, remote, local, rng):
        self.name, self.remote, self.local, self.rng = name, remote, local, rng
        self.vectors = COLLECTIONS[name]
        self.alive = set()
        self.fresh = 1000
        params = {n: models.VectorParams(size=size, distance=d) for n, (d, size) in self.vectors.items()}
        config = params[""] if "" in params else params
        for client in (remote, local):
            client.create_collection(name, vectors_config=config)

    # What calls are made of.

    def id(self):
        n = self.rng.randrange(40)
        return str(uuid.UUID(int=n)) if self.rng.random() < 0.2 else n

    def some_alive(self):
        count = min(len(self.alive), 1 + self.rng.randrange(5))
        return self.rng.sample(sorted(self.alive, key=str), count)

    def numbers(self, size):
        return [round(self.rng.uniform(-1, 1), 3) or 0.5 for _ in range(size)]

    def vector(self):
        if "" in self.vectors:
            return self.numbers(self.vectors[""][1])
        names = [n for n in self.vectors if self.rng.random() < 0.8]
        return {n: self.numbers(self.vectors[n][1]) for n in names}

    def payload(self):
        r, payload = self.rng, {}
        if r.random() < 0.8:
            payload["n"] = r.randrange(10)
        if r.random() < 0.7:
            payload["x"] = round(r.uniform(0, 5), 2) + 0.001
        if r.random() < 0.7:
            payload["city"] = r.choice(CITIES)
        if r.random() < 0.5:
            payload["tags"] = r.sample(CITIES, r.randrange(4))
        if r.random() < 0.5:
            payload["text"] = " ".join(r.choice(WORDS) for _ in range(1 + r.randrange(5)))
        if r.random() < 0.4:
            payload["ok"] = r.random() < 0.5
        if r.random() < 0.4:
            payload["at"] = {"lon": r.uniform(-180, 180), "lat": r.uniform(-90, 90)}
        if r.random() < 0.4:
            payload["when"] = (START + timedelta(hours=r.randrange(1000))).isoformat()
        if r.random() < 0.4:
            payload["rooms"] = [
                {"area": r.randrange(5), "kind": r.choice(["bed", "bath"])} for _ in range(r.randrange(4))
            ]
        if r.random() < 0.3:
            payload["deep"] = {"er": {"n": r.randrange(5), "m": [1, {"k": 2}]}}
        if r.random() < 0.2:
            payload["nothing"] = None
        return payload

    def field_condition(self):
        r = self.rng

        def field(key, **test):
            return models.FieldCondition(key=key, **test)

        return r.choice([
            lambda: field("city", match=models.MatchValue(value=r.choice(CITIES))),
            lambda: field("n", match=models.MatchValue(value=r.randrange(10))),
            lambda: field("ok", match=models.MatchValue(value=r.random() < 0.5)),
            lambda: field("tags", match=models.MatchAny(any=r.sample(CITIES, 2))),
            lambda: field("n", match=models.MatchAny(any=r.sample(range(10), 3))),
            lambda: field("city", match=models.MatchExcept(**{"except": r.sample(CITIES, 2)})),
            lambda: field("text", match=models.MatchText(text=r.choice(WORDS))),
            lambda: field("text", match=models.MatchTextAny(text_any=" ".join(r.sample(WORDS, 2)))),
            lambda: field("n", range=models.Range(gte=r.randrange(10))),
            lambda: field("x", range=models.Range(gt=r.uniform(0, 3), lte=r.uniform(2, 5))),
            lambda: field("when", range=models.DatetimeRange(gte=START + timedelta(hours=r.randrange(1000)))),
            lambda: field("rooms[].area", range=models.Range(lt=r.randrange(5))),
            lambda: field("deep.er.n", match=models.MatchValue(value=r.randrange(5))),
            lambda: field("tags", values_count=models.ValuesCount(gte=1 + r.randrange(3))),
            lambda: field("at", geo_radius=models.GeoRadius(
                center=models.GeoPoint(lon=r.uniform(-180, 180), lat=r.uniform(-90, 90)),
                radius=r.uniform(1e6, 1e7),
            )),
            lambda: field("at", geo_bounding_box=models.GeoBoundingBox(
                top_left=models.GeoPoint(lon=r.uniform(-180, 0), lat=r.uniform(10, 90)),
                bottom_right=models.GeoPoint(lon=r.uniform(0, 180), lat=r.uniform(-90, 0)),
            )),
            lambda: field("at", geo_polygon=models.GeoPolygon(exterior=models.GeoLineString(points=[
                models.GeoPoint(lon=x, lat=y)
                for x, y in [(-100, -50), (120, -60), (r.uniform(0, 90), 80), (-100, -50)]
            ]))),
        ])()

    def condition(self, depth=0):
        r = self.rng
        if depth < 2 and r.random() < 0.15:
            return self.filter(depth + 1)
        return r.choice([
            self.field_condition, self.field_condition, self.field_condition, self.field_condition,
            lambda: models.HasIdCondition(has_id=[self.id() for _ in range(8)]),
            lambda: models.IsEmptyCondition(is_empty=models.PayloadField(key=r.choice(["tags", "n", "none"]))),
            lambda: models.IsNullCondition(is_null=models.PayloadField(key=r.choice(["nothing", "n"]))),
            lambda: models.HasVectorCondition(has_vector=r.choice(list(self.vectors))),
            lambda: models.NestedCondition(nested=models.Nested(key="rooms", filter=models.Filter(must=[
                models.FieldCondition(key="area", range=models.Range(gte=r.randrange(5))),
                models.FieldCondition(key="kind", match=models.MatchValue(value="bed")),
            ]))),
        ])()

    def filter(self, depth=0):
        r, parts = self.rng, {}
        for part in ("must", "should", "must_not"):
            if r.random() < 0.4:
                parts[part] = [self.condition(depth) for _ in range(1 + r.randrange(2))]
        if r.random() < 0.1:
            conditions = [self.condition(depth) for _ in range(3)]
            parts["min_should"] = models.MinShould(conditions=conditions, min_count=1 + r.randrange(2))
        return models.Filter(**(parts or {"must": [self.condition(depth)]}))

    def maybe_filter(self):
        return self.filter() if self.rng.random() < 0.6 else None

    def selector(self):
        """Points that are there: the in-memory mode also finds some that were deleted."""
        if self.rng.random() < 0.5 and self.alive:
            return self.some_alive()
        return self.filter()

    def with_payload(self):
        return self.rng.choice([
            True, False, True, ["n", "deep.er.n"],
            models.PayloadSelectorInclude(include=["rooms[].area", "city"]),
            models.PayloadSelectorExclude(exclude=["deep.er.m", "tags", "rooms[].kind"]),
        ])

    def with_vectors(self):
        return self.rng.choice([False, True, False, list(self.vectors)[:1]])

    # The calls.

    def both(self, call):
        return call(self.remote), call(self.local)

    def upsert(self):
        count = 1 + self.rng.randrange(12)
        points = [
            models.PointStruct(id=self.id(), vector=self.vector(), payload=self.payload()) for _ in range(count)
        ]
        self.alive.update(point.id for point in points)
        wait = self.rng.random() < 0.7
        self.both(lambda client: client.upsert(self.name, [p.model_copy(deep=True) for p in points], wait=wait))

    def upsert_some(self):
        """Only new points, or only those that are there, or those that match."""
        ids = self.some_alive()
        self.fresh += 1
        ids.append(self.fresh)
        points = [models.PointStruct(id=id, vector=self.vector(), payload=self.payload()) for id in ids]
        how = {"update_mode": self.rng.choice([None, *models.UpdateMode])}
        if self.rng.random() < 0.6:
            how["update_filter"] = self.filter()
        self.both(lambda client: client.upsert(self.name, [p.model_copy(deep=True) for p in points], **how))
        self.alive = {point.id for point in self.local.scroll(self.name, limit=EVERY)[0]}

    def upsert_batch(self):
        ids = list({self.id() for _ in range(1 + self.rng.randrange(6))})
        columns = {n: [self.numbers(size) for _ in ids] for n, (_, size) in self.vectors.items()}
        self.alive.update(ids)
        self.both(lambda client: client.upsert(self.name, models.Batch(
            ids=ids,
            vectors=columns[""] if "" in columns else columns,
            payloads=[{"n": 3}] * len(ids),
        )))

    def delete(self):
        selector = self.some_alive()[:2] if self.rng.random() < 0.7 else self.filter()
        if isinstance(selector, models.Filter) and self.local.count(self.name, count_filter=selector).count > 6:
            return
        if selector:
            self.both(lambda client: client.delete(self.name, points_selector=selector))
            self.alive = {point.id for point in self.local.scroll(self.name, limit=EVERY)[0]}

    def edit_payload(self):
        r, selector = self.rng, self.selector()
        if r.random() < 0.4:
            flat = {key: value for key, value in self.payload().items() if not isinstance(value, (list, dict))}
            args = {"payload": flat, "points": selector}
            self.both(lambda client: client.set_payload(self.name, **args))
        elif r.random() < 0.3:
            key = r.choice(["deep", "deep.er", "fresh.one", "rooms[0]", "rooms[]"])
            args = {"payload": {"set": r.randrange(9)}, "points": selector, "key": key}
            self.both(lambda client: client.set_payload(self.name, **args))
        elif r.random() < 0.4:
            keys = r.sample(["n", "x", "city", "tags", "deep"], 2)
            self.both(lambda client: client.delete_payload(self.name, keys=keys, points=selector))
        elif r.random() < 0.5:
            payload = self.payload()
            self.both(lambda client: client.overwrite_payload(self.name, payload=payload, points=selector))
        elif isinstance(selector, list):
            self.both(lambda client: client.clear_payload(self.name, points_selector=selector))

    def edit_vectors(self):
        ids = self.some_alive()
        if not ids:
            return
        if "" not in self.vectors and self.rng.random() < 0.4:
            names = self.rng.sample(list(self.vectors), 1)
            self.both(lambda client: client.delete_vectors(self.name, vectors=names, points=ids))
            return
        name = self.rng.choice(list(self.vectors))
        vectors = [self.numbers(self.vectors[name][1]) for _ in ids]
        points = [
            models.PointVectors(id=id, vector=vector if name == "" else {name: vector})
            for id, vector in zip(ids, vectors)
        ]
        self.both(lambda client: client.update_vectors(self.name, points=points))

    def batch(self):
        ids = self.some_alive()
        if not ids:
            return
        points = [models.PointStruct(id=self.id(), vector=self.vector(), payload=self.payload())]
        self.alive.update(point.id for point in points)
        self.both(lambda client: client.batch_update_points(self.name, [
            models.UpsertOperation(upsert=models.PointsList(points=[p.model_copy(deep=True) for p in points])),
            models.SetPayloadOperation(set_payload=models.SetPayload(payload={"batch": 1}, points=ids)),
            models.DeletePayloadOperation(delete_payload=models.DeletePayload(keys=["x"], points=ids)),
        ]))

    def asked(self):
        """The arguments of a question, and for what vectors it is."""
        name = self.rng.choice(list(self.vectors))
        distance, size = self.vectors[name]
        query = self.numbers(size)
        if self.rng.random() < 0.2:
            records, _ = self.local.scroll(
                self.name, limit=EVERY,
                scroll_filter=models.Filter(must=[models.HasVectorCondition(has_vector=name)]),
            )
            query = self.rng.choice(records).id if records else query
        asked = {"query": query, "using": name or None, "query_filter": self.maybe_filter()}
        if self.rng.random() < 0.3:
            asked["score_threshold"] = self.rng.uniform(-0.5, 2.0)
        return asked, distance

    def query(self):
        asked, _ = self.asked()
        limit, offset = 1 + self.rng.randrange(12), self.rng.choice([None, None, 0, 3])
        how = {"with_payload": self.with_payload(), "with_vectors": self.with_vectors()}
        found, right = self.both(
            lambda client: client.query_points(self.name, limit=limit, offset=offset, **asked, **how).points
        )
        every = self.local.query_points(self.name, limit=EVERY, **asked, **how).points
        same_scored(found, right, every)

    def query_batch(self):
        questions = []
        for _ in range(3):
            asked, _ = self.asked()
            questions.append(models.QueryRequest(
                query=asked["query"], using=asked["using"], filter=asked["query_filter"], limit=5,
                score_threshold=asked.get("score_threshold"), with_payload=True,
            ))
        found, right = self.both(lambda client: client.query_batch_points(self.name, requests=questions))
        assert len(found) == len(right) == 3
        for question, ours, theirs in zip(questions, found, right):
            every = self.local.query_batch_points(self.name, [question.model_copy(update={"limit": EVERY})])
            same_scored(ours.points, theirs.points, every[0].points)

    # Questions of other kinds.

    def example(self, name, ids=True):
        """A vector, or a point that has one."""
        if ids and self.rng.random() < 0.4:
            records, _ = self.local.scroll(
                self.name, limit=EVERY,
                scroll_filter=models.Filter(must=[models.HasVectorCondition(has_vector=name)]),
            )
            if records:
                return self.rng.choice(records).id
        return self.numbers(self.vectors[name][1])

    def by_examples(self, name, ids=True, ties=True):
        r = self.rng
        some = lambda least, most: [self.example(name, ids) for _ in range(r.randint(least, most))]
        pairs = lambda: [
            models.ContextPair(positive=self.example(name, ids), negative=self.example(name, ids))
            for _ in range(r.randint(1, 3))
        ]
        strategy = lambda which: models.RecommendQuery(recommend=models.RecommendInput(
            positive=some(1, 3), negative=some(0, 2), strategy=which,
        ))
        # Unlike some and like none: both strategies can do with that.
        unlike = lambda which: models.RecommendQuery(recommend=models.RecommendInput(
            negative=some(1, 2), strategy=which,
        ))
        kinds = [
            lambda: strategy(r.choice([None, models.RecommendStrategy.AVERAGE_VECTOR])),
            lambda: strategy(models.RecommendStrategy.BEST_SCORE),
            lambda: strategy(models.RecommendStrategy.SUM_SCORES),
            lambda: unlike(models.RecommendStrategy.BEST_SCORE),
            lambda: unlike(models.RecommendStrategy.SUM_SCORES),
            lambda: models.DiscoverQuery(discover=models.DiscoverInput(
                target=self.example(name, ids), context=pairs()
            )),
        ]
        said = lambda: models.FeedbackItem(example=self.example(name, ids), score=round(r.uniform(-1, 2), 2))
        # Of distances the in-memory mode answers the worst first.
        if ties and self.vectors[name][0] in (models.Distance.DOT, models.Distance.COSINE):
            kinds.append(lambda: models.RelevanceFeedbackQuery(relevance_feedback=models.RelevanceFeedbackInput(
                target=self.example(name, ids), feedback=[said() for _ in range(r.randrange(4))],
                strategy=models.NaiveFeedbackStrategy(naive=models.NaiveFeedbackStrategyParams(
                    a=round(r.uniform(-1, 2), 2), b=r.choice([0.0, 0.5, 1.0, 2.0]), c=round(r.uniform(-1, 2), 2),
                )),
            )))
        if ties:
            kinds.append(lambda: models.ContextQuery(context=pairs()))
        return r.choice(kinds)()

    def expression(self, depth=0):
        """A formula that has a value for every point."""
        r = self.rng
        inner = lambda: self.expression(depth + 1)
        leaves = [
            lambda: round(r.uniform(-3, 3), 2),
            lambda: r.choice(["$score", "$score[0]", "$score[1]", "$score[7]"]),
            lambda: r.choice(["n", "x", "deep.er.n", "gone"]),
            self.field_condition,
            lambda: models.GeoDistance(geo_distance=models.GeoDistanceParams(
                origin=models.GeoPoint(lon=r.uniform(-180, 180), lat=r.uniform(-90, 90)), to="at",
            )),
        ]
        positive = lambda: models.SumExpression(sum=[0.5, models.AbsExpression(abs=inner())])
        decay = lambda: models.DecayParamsExpression(
            x=r.choice([inner(), models.DatetimeKeyExpression(datetime_key="when")]),
            target=r.choice([None, inner(), models.DatetimeExpression(datetime="2024-01-20T00:00:00Z")]),
            scale=r.choice([None, round(r.uniform(0.5, 1e5), 2)]),
            midpoint=r.choice([None, round(r.uniform(0.1, 0.9), 2)]),
        )
        branches = [
            lambda: models.SumExpression(sum=[inner() for _ in range(r.randint(1, 3))]),
            lambda: models.MultExpression(mult=[inner() for _ in range(r.randint(1, 3))]),
            lambda: models.NegExpression(neg=inner()),
            lambda: models.AbsExpression(abs=inner()),
            lambda: models.DivExpression(div=models.DivParams(left=inner(), right=inner(), by_zero_default=1.5)),
            lambda: models.SqrtExpression(sqrt=positive()),
            lambda: models.LnExpression(ln=positive()),
            lambda: models.Log10Expression(log10=positive()),
            lambda: models.PowExpression(pow=models.PowParams(base=positive(), exponent=0.5)),
            lambda: models.LinDecayExpression(lin_decay=decay()),
            lambda: models.ExpDecayExpression(exp_decay=decay()),
            lambda: models.GaussDecayExpression(gauss_decay=decay()),
            lambda: models.ExpExpression(exp=models.LinDecayExpression(lin_decay=decay())),
        ]
        return r.choice(leaves if depth > 2 or r.random() < 0.3 else branches)()

    def formula(self):
        return models.FormulaQuery(formula=self.expression(), defaults={
            "n": 2, "x": 0.75, "deep.er.n": [3], "gone": -1, "at": {"lon": 10, "lat": 50},
            "when": "2024-01-05T12:00:00Z", **self.rng.choice([{}, {"$score": 0.25, "$score[1]": 4}]),
        })

    def prefetch(self, ties, depth=0, ids=True, limit=None):
        """A prefetch; without ties, one whose points never have equal scores."""
        r = self.rng
        name = r.choice(list(self.vectors))
        # Of equal ones it is open which are left out.
        most = limit or (1000 if ties else r.choice([3, 10, 50]))
        how = {"using": name or None, "filter": self.maybe_filter(), "limit": most}
        if depth < 2 and r.random() < 0.3:
            query = self.merging(2, name, ids) if ties else models.NearestQuery(nearest=self.example(name, ids))
            inner = [self.prefetch(not by_places(query), depth + 1, ids, limit) for _ in range(2)]
            return models.Prefetch(query=query, prefetch=inner, **how)
        if r.random() < 0.3:
            return models.Prefetch(query=self.by_examples(name, ids, ties), **how)
        return models.Prefetch(query=models.NearestQuery(nearest=self.example(name, ids)), **how)

    def merging(self, count, name, ids=True):
        """What puts so many prefetches together."""
        r = self.rng
        return r.choice([
            lambda: models.FusionQuery(fusion=models.Fusion.RRF),
            lambda: models.FusionQuery(fusion=models.Fusion.DBSF),
            lambda: models.RrfQuery(rrf=models.Rrf(
                k=r.choice([None, 1, 2, 60]),
                weights=r.choice([None, [round(r.uniform(0, 4), 2) for _ in range(count)]]),
            )),
            self.formula,
            lambda: models.NearestQuery(nearest=self.example(name, ids)),
            lambda: self.by_examples(name, ids),
        ])()

    def both_queried(self, call, **asked):
        """Answers of both to a question with prefetches, whose filter the in-memory mode is given in each of them."""
        found = call(self.remote, asked)
        return found, call(self.local, {**asked, "prefetch": handed_on(asked["prefetch"], asked["query_filter"])})

    def query_prefetched(self):
        name = self.rng.choice(list(self.vectors))
        count = self.rng.randint(1, 3)
        query = self.merging(count, name)
        prefetch = [self.prefetch(not by_places(query)) for _ in range(count)]
        asked = {
            "query": query, "using": name or None, "prefetch": prefetch,
            "query_filter": self.maybe_filter() if self.rng.random() < 0.5 else None,
            "with_payload": self.with_payload(), "with_vectors": self.with_vectors(),
        }
        limit, offset = 1 + self.rng.randrange(12), self.rng.choice([None, 2])
        if self.rng.random() < 0.2 and isinstance(asked["query"], (models.FusionQuery, models.FormulaQuery)):
            asked["score_threshold"] = self.rng.uniform(0, 1)
        ask = lambda client, asked: client.query_points(self.name, limit=limit, offset=offset, **asked).points
        found, right = self.both_queried(ask, **asked)
        local = {**asked, "prefetch": handed_on(prefetch, asked["query_filter"])}
        same_scored(found, right, self.local.query_points(self.name, limit=EVERY, **local).points)

    def query_by_examples(self):
        name = self.rng.choice(list(self.vectors))
        query = self.by_examples(name)
        asked = {"query": query, "using": name or None, "query_filter": self.maybe_filter(), "with_payload": True}
        if self.vectors[name][0] in (models.Distance.DOT, models.Distance.COSINE) and self.rng.random() < 0.3:
            asked["score_threshold"] = self.rng.uniform(-1, 1)
        limit, offset = 1 + self.rng.randrange(12), self.rng.choice([None, 2])
        found, right = self.both(
            lambda client: client.query_points(self.name, limit=limit, offset=offset, **asked).points
        )
        same_scored(found, right, self.local.query_points(self.name, limit=EVERY, **asked).points)

    def query_looked_up(self):
        """Examples of another collection."""
        name = self.rng.choice(list(self.vectors))
        points = [models.PointStruct(id=i, vector={"w": self.numbers(self.vectors[name][1])}) for i in (1, 2, 3)]
        other = f"{self.name}-other"
        distance, size = self.vectors[name]
        for client in (self.remote, self.local):
            client.delete_collection(other)
            client.create_collection(other, vectors_config={"w": models.VectorParams(size=size, distance=distance)})
            client.upsert(other, [p.model_copy(deep=True) for p in points])
        query = self.rng.choice([
            2,
            models.RecommendQuery(recommend=models.RecommendInput(positive=[1, 2], negative=[3])),
            models.DiscoverQuery(discover=models.DiscoverInput(
                target=1, context=[models.ContextPair(positive=2, negative=3)]
            )),
        ])
        asked = {
            "query": query, "using": name or None,
            "lookup_from": models.LookupLocation(collection=other, vector="w"),
        }
        found, right = self.both(lambda client: client.query_points(self.name, limit=7, **asked).points)
        same_scored(found, right, self.local.query_points(self.name, limit=EVERY, **asked).points)
        self.both(lambda client: client.delete_collection(other))

    def query_mmr(self):
        r, name = self.rng, self.rng.choice(list(self.vectors))
        diversity = r.choice([None, 0.0, 1.0, round(r.random(), 2)])
        if self.vectors[name][0] == models.Distance.MANHATTAN and diversity in (None, 0.5):
            diversity = 0.4
        mmr = models.Mmr(diversity=diversity, candidates_limit=r.choice([None, 5, 30]))
        asked = {
            "query": models.NearestQuery(nearest=self.example(name), mmr=mmr), "using": name or None,
            "query_filter": self.maybe_filter(), "limit": 1 + r.randrange(10), "with_payload": False,
        }
        found, right = self.both(lambda client: client.query_points(self.name, **asked).points)
        ids = lambda points: [point.id for point in points]
        assert ids(found) == ids(right), f"{ids(found)}, not {ids(right)}"
        assert all(close(ours.score, theirs.score) for ours, theirs in zip(found, right))

    def query_in_order(self):
        order = models.OrderByQuery(order_by=models.OrderBy(
            key="x", direction=self.rng.choice([models.Direction.ASC, models.Direction.DESC])
        ))
        query = self.rng.choice([order, order, None])
        asked = {"query": query, "query_filter": self.maybe_filter()}
        if query and self.rng.random() < 0.5:
            asked["prefetch"] = handed_on([self.prefetch(False, 2)], asked["query_filter"])
        found, right = self.both(lambda client: client.query_points(self.name, limit=9, **asked).points)
        payloads = lambda points: [(point.score, (point.payload or {}).get("x")) for point in points]
        assert payloads(found) == payloads(right), f"{payloads(found)}, not {payloads(right)}"

    def query_sampled(self):
        asked = {"query": models.SampleQuery(sample=models.Sample.RANDOM), "query_filter": self.maybe_filter()}
        found, right = self.both(lambda client: client.query_points(self.name, limit=EVERY, **asked).points)
        by_id = lambda points: sorted(((str(p.id), p.score, p.payload) for p in points), key=lambda p: p[0])
        assert by_id(found) == by_id(right)
        some = self.remote.query_points(self.name, limit=3, **asked).points
        assert len(some) == min(3, len(right)) and {p.id for p in some} <= {p.id for p in right}

    def groups(self):
        r = self.rng
        key, limit = r.choice([("n", 4), ("city", 2), ("n", 50), ("tags", 50), ("rooms[].area", 50), ("deep.er.n", 3)])
        name = r.choice(list(self.vectors))
        asked = {
            "query": self.example(name), "using": name or None, "query_filter": self.maybe_filter(),
            "group_by": key, "limit": limit, "group_size": 1 + r.randrange(4), "with_payload": self.with_payload(),
        }
        if r.random() < 0.3:
            asked["query"] = self.by_examples(name)
        elif r.random() < 0.3:
            prefetch = [self.prefetch(False, 1, ids=False, limit=1000) for _ in range(2)]
            prefetch = handed_on(prefetch, None)
            asked.update(query=models.FusionQuery(fusion=models.Fusion.RRF), query_filter=None, prefetch=prefetch)
        found, right = self.both(lambda client: client.query_points_groups(self.name, **asked).groups)
        best = lambda groups: [group.hits[0].score for group in groups]
        assert len(found) == len(right) and all(map(close, best(found), best(right))), f"{found}, not {right}"
        every = {group.id: group.hits for group in self.local.query_points_groups(
            self.name, **{**asked, "limit": EVERY, "group_size": EVERY}
        ).groups}
        sizes = {group.id: len(group.hits) for group in right}
        for group in found:
            hits = every[group.id]
            same_scored(group.hits, hits[:sizes.get(group.id, len(group.hits))], hits)

    def groups_looked_up(self):
        lookup = models.WithLookup(collection=self.name, with_payload=["n"], with_vectors=False)
        for group in self.remote.query_points_groups(
            self.name, group_by="n", limit=20, with_lookup=self.rng.choice([lookup, self.name])
        ).groups:
            right = self.local.retrieve(self.name, [group.id]) if group.id in self.alive else []
            assert (group.lookup and group.lookup.id) == (right[0].id if right else None)

    def facet(self):
        key = self.rng.choice(["n", "city", "tags", "ok", "deep.er.n", "rooms[].area", "x", "none"])
        asked = {"key": key, "facet_filter": self.maybe_filter(), "limit": 1 + self.rng.randrange(8)}
        found, right = self.both(lambda client: client.facet(self.name, **asked).hits)
        assert found == right, f"{found}, not {right}"

    def matrix(self):
        name = self.rng.choice(list(self.vectors))
        must = [models.HasIdCondition(has_id=list(range(40))), models.HasVectorCondition(has_vector=name)]
        asked = {
            "query_filter": models.Filter(must=must), "sample": 1000, "limit": 1 + self.rng.randrange(4),
            "using": name or None,
        }
        found, right = self.both(lambda client: client.search_matrix_pairs(self.name, **asked).pairs)
        assert [pair.a for pair in found] == [pair.a for pair in right]
        assert all(close(ours.score, theirs.score) for ours, theirs in zip(found, right))
        found, right = self.both(lambda client: client.search_matrix_offsets(self.name, **asked))
        assert found.ids == right.ids and found.offsets_row == right.offsets_row
        assert len(found.offsets_col) == len(right.offsets_col) and all(map(close, found.scores, right.scores))

    def scroll(self):
        how = {
            "scroll_filter": self.maybe_filter(), "limit": 1 + self.rng.randrange(9),
            "with_payload": self.with_payload(), "with_vectors": self.with_vectors(),
        }
        offset = None
        for _ in range(20):
            found, right = self.both(lambda client: client.scroll(self.name, offset=offset, **how))
            same_records(found[0], right[0])
            assert found[1] == right[1], f"next page: {found[1]}, not {right[1]}"
            offset = right[1]
            if offset is None:
                break

    def scroll_in_order(self):
        key = self.rng.choice(["n", "x", "when", "rooms[].area"])
        direction = self.rng.choice([models.Direction.ASC, models.Direction.DESC])
        order = models.OrderBy(key=key, direction=direction)
        if key == "n" and self.rng.random() < 0.5:
            order.start_from = self.rng.randrange(10)
        how = {"scroll_filter": self.maybe_filter(), "order_by": order}
        limit = 1 + self.rng.randrange(15)
        found, right = self.both(lambda client: client.scroll(self.name, limit=limit, **how)[0])
        every = self.local.scroll(self.name, limit=EVERY, **how)[0]
        values = lambda records: [record.order_value for record in records]
        assert values(found) == values(right), f"{values(found)}, not {values(right)}"
        there = {(record.id, record.order_value): record for record in every}
        pairs = [(record.id, record.order_value) for record in found]
        assert len(set(pairs)) == len(pairs)
        same_records(found, [there[pair] for pair in pairs])

    def count(self):
        filter = self.maybe_filter()
        found, right = self.both(lambda client: client.count(self.name, count_filter=filter).count)
        assert found == right, f"{found} points, not {right}"

    def retrieve(self):
        # The in-memory mode hands out deleted points, too.
        ids = self.some_alive()
        how = {"with_payload": self.with_payload(), "with_vectors": self.with_vectors()}
        found, right = self.both(lambda client: client.retrieve(self.name, ids=ids, **how))
        same_records(found, right)
        assert self.remote.retrieve(self.name, ids=[10**18]) == []

    def index(self):
        fields = {
            "n": models.PayloadSchemaType.INTEGER, "city": models.PayloadSchemaType.KEYWORD,
            "tags": models.PayloadSchemaType.KEYWORD, "x": models.PayloadSchemaType.FLOAT,
            "at": models.PayloadSchemaType.GEO, "when": models.PayloadSchemaType.DATETIME,
            "ok": models.PayloadSchemaType.BOOL, "text": models.PayloadSchemaType.TEXT,
        }
        field = self.rng.choice(list(fields))
        if self.rng.random() < 0.7:
            self.remote.create_payload_index(self.name, field_name=field, field_schema=fields[field])
        else:
            self.remote.delete_payload_index(self.name, field_name=field)

    CALLS = [
        (upsert, 12), (upsert_some, 4), (upsert_batch, 4), (delete, 4), (edit_payload, 8), (edit_vectors, 4), (batch, 3),
        (query, 20), (query_batch, 5), (query_prefetched, 16), (query_by_examples, 12), (query_looked_up, 2),
        (query_mmr, 5), (query_in_order, 3), (query_sampled, 2), (groups, 8), (groups_looked_up, 1), (facet, 5),
        (matrix, 3), (scroll, 8), (scroll_in_order, 6), (count, 8), (retrieve, 5), (index, 2),
    ]

    def call(self):
        calls, weights = zip(*self.CALLS)
        call = self.rng.choices(calls, weights)[0]
        call(self)
        return call.__name__


def by_places(query):
    """Whether the places of points decide, not their scores: then equal scores leave the answer open."""
    return isinstance(query, models.RrfQuery) or getattr(query, "fusion", None) == models.Fusion.RRF


def handed_on(prefetches, outer):
    """Prefetches that have the filters of the questions around them, too."""
    all_of = lambda own: models.Filter(must=[outer, own]) if outer and own else outer or own
    return [inner.model_copy(update={
        "filter": all_of(inner.filter),
        "prefetch": handed_on(inner.prefetch, all_of(inner.filter)) if inner.prefetch else None,
    }) for inner in prefetches]


def close(a, b):
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def same_vectors(found, right):
    if isinstance(right, dict):
        assert isinstance(found, dict) and found.keys() == right.keys(), f"{found}, not {right}"
        for name in right:
            same_vectors(found[name], right[name])
    elif right is None:
        assert found is None, f"{found}, not None"
    else:
        assert len(found) == len(right) and all(map(close, found, right)), f"{found}, not {right}"


def same_records(found, right):
    ids = lambda records: [record.id for record in records]
    assert ids(found) == ids(right), f"{ids(found)}, not {ids(right)}"
    for ours, theirs in zip(found, right):
        assert ours.payload == theirs.payload, f"{ours.id}: {ours.payload}, not {theirs.payload}"
        same_vectors(ours.vector, theirs.vector)


def same_scored(found, right, every):
    scores = lambda points: [point.score for point in points]
    assert len(found) == len(right) and all(map(close, scores(found), scores(right))), (
        f"{[(p.id, p.score) for p in found]}, not {[(p.id, p.score) for p in right]}"
    )
    there = {point.id: point for point in every}
    assert len({point.id for point in found}) == len(found)
    for ours in found:
        theirs = there[ours.id]
        assert close(ours.score, theirs.score), f"{ours.id}: {ours.score}, not {theirs.score}"
        assert ours.payload == theirs.payload, f"{ours.id}: {ours.payload}, not {theirs.payload}"
        same_vectors(ours.vector, theirs.vector)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    remote, local = QdrantClient(args.url, timeout=30), QdrantClient(":memory:")
    for name in COLLECTIONS:
        remote.delete_collection(name)
    tests = [Test(name, remote, local, rng) for name in COLLECTIONS]
    for test in tests:
        test.upsert()
    made = {}
    for number in range(args.calls):
        test = rng.choice(tests)
        state = rng.getstate()
        try:
            name = test.call()
        except Exception:
            rng.setstate(state)
            print(f"seed {args.seed}, call {number}, collection {test.name}")
            raise
        made[name] = made.get(name, 0) + 1
    for test in tests:
        everything = dict(limit=EVERY, with_vectors=True)
        found, right = test.both(lambda client: client.scroll(test.name, **everything)[0])
        same_records(found, right)
        remote.delete_collection(test.name)
    print(f"{args.calls} calls agree:", ", ".join(f"{name} {count}" for name, count in sorted(made.items())))


if __name__ == "__main__":
    main()
