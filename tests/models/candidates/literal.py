"""The formulae read literally and slowly, over ids and dicts: the oracle of the kernels."""

import math
from typing import Any

from models.numeric.ids import hash32, hash64
from models.user.query import Query
from tests.models.builders import AnEncoder, AnItem, ASession
from tests.states import evidence_of

FADING_DAYS = 15
"""At which a session counts 1 / e: half of the made-up tables' half-life."""
World = dict[str, AnItem]
Trends = dict[int, dict[str, float]]


def history_of(query: Query) -> list[tuple[int, float]]:
    """Item hashes and weights, newest first, the current item before all."""
    evidence = evidence_of(query)
    history = list(zip(evidence.recent_items, evidence.recent_weights, strict=True))
    if query.current_item and query.current_item not in evidence.recent_items[:1]:
        history.insert(0, (query.current_item, 1.0))
    return history[:32]


def allowed(query: Query, item: AnItem) -> bool:
    """Whether the rules let the item stand on this query's slate."""
    strategy, item_hash = query.strategy, hash64(item.item_id)
    may_stay = strategy.allow_seen and strategy.allow_current and query.candidates is None
    if not (item.available and item.named) or (item_hash == query.current_item and not may_stay):
        return False
    if query.candidates is not None:
        return item.item_id in query.candidates
    return not (
        (not strategy.allow_seen and item_hash in evidence_of(query).recent_items)
        or (not strategy.allow_owned and item_hash in query.owned)
        or query.impressions.get(item_hash, 0) >= strategy.max_impressions - 0.5
    )


def n_session_of(query: Query) -> int:
    """How many items of the history belong to the running session."""
    evidence, started_at = evidence_of(query), query.session_started_at
    n_session = sum(at >= started_at for at in evidence.recent_at) if started_at is not None else 0
    leads = bool(query.current_item) and query.current_item not in evidence.recent_items[:1]
    return n_session + leads


def two_step_rules(query: Query, world: World, _: Trends) -> dict[str, float]:
    by_hash = {hash64(item_id): item for item_id, item in world.items()}
    scores: dict[str, float] = {}
    for r, (item_hash, weight) in enumerate(history_of(query)[: min(3, max(1, n_session_of(query)))]):
        first = by_hash.get(item_hash)
        if first is None or weight < 0:
            continue
        drawn = {
            other: first.rules.get(other, 0) + 0.3 * first.covisits.get(other, 0)
            for other in {**first.rules, **first.covisits}
        }
        for middle, strength in drawn.items():
            for last, onward in world[middle].rules.items():
                share = strength / sum(drawn.values()) * onward / sum(world[middle].rules.values())
                scores[last] = scores.get(last, 0) + share / (r + 1)
    return scores


def revisits(query: Query, world: World, _: Trends) -> dict[str, float]:
    by_hash = {hash64(item_id): item_id for item_id in world}
    scores: dict[str, float] = {}
    for r, (item_hash, weight) in enumerate(history_of(query)[: n_session_of(query)]):
        if item_hash in by_hash and weight >= 0:
            scores[by_hash[item_hash]] = scores.get(by_hash[item_hash], 0) + 1 / (r + 1)
    return scores


def session_knn_shares(query: Query, world: World, sessions: list[ASession]) -> dict[str, dict[str, float]]:
    """Of each candidate, what each item of the running session adds to its score but for its rarity.

    Of sessions so few that none is beyond the most recent 500 of an item or the most similar 300.
    """
    by_hash = {hash64(item_id): item_id for item_id in world}
    steps: dict[str, int] = {}
    for r, (item_hash, weight) in enumerate(history_of(query)[: min(10, max(1, n_session_of(query)))]):
        if item_hash in by_hash and weight >= 0:
            steps.setdefault(by_hash[item_hash], r)
    shares: dict[str, dict[str, float]] = {}
    for session in sessions:
        shared = [item for item in steps if item in session.items]
        if not shared or session.user_id == query.user_id:
            continue
        days = max(query.at - session.last_at, 0) / 86_400_000
        faded = math.exp(-min(days / FADING_DAYS, 20)) / len(session.items) ** 0.4
        newest = min(shared, key=lambda item: steps[item])
        anchor = max(p for p, item in enumerate(session.items) if item == newest)
        for p, item in enumerate(session.items):
            if p != anchor:
                of_item = shares.setdefault(item, {})
                for cause in shared:
                    gain = math.exp(-steps[cause] / 1.2) * faded * math.exp(-abs(p - anchor) / 3)
                    of_item[cause] = of_item.get(cause, 0) + gain
    return shares


def session_knn(query: Query, world: World, sessions: list[ASession]) -> dict[str, float]:
    def rarity(item: str) -> float:
        return math.log(1 + len(sessions) / (1 + sum(item in session.items for session in sessions)))

    shares = session_knn_shares(query, world, sessions)
    return {item: sum(of_item.values()) * rarity(item) for item, of_item in shares.items()}


def sequential_rules(query: Query, world: World, _: Trends) -> dict[str, float]:
    by_hash = {hash64(item_id): item for item_id, item in world.items()}
    history = history_of(query)
    evidence, started_at = evidence_of(query), query.session_started_at
    n_session = sum(at >= started_at for at in evidence.recent_at) if started_at is not None else 0
    n_session += len(history) > len(evidence.recent_items[:31]) and bool(query.current_item)
    scores: dict[str, float] = {}
    for r, (item_hash, weight) in enumerate(history[:3]):
        item = by_hash.get(item_hash)
        if item is None or weight < 0 or r >= max(1, n_session):
            continue
        total = sum(item.rules.values())
        for other, rule in item.rules.items():
            scores[other] = scores.get(other, 0) + 1 / (r + 1) * rule / total
    return scores


def covisitation(query: Query, world: World, _: Trends) -> dict[str, float]:
    by_hash = {hash64(item_id): item for item_id, item in world.items()}
    scores: dict[str, float] = {}
    for r, (item_hash, weight) in enumerate(history_of(query)[:15]):
        item = by_hash.get(item_hash)
        if item is None or weight < 0:
            continue
        for other, count in item.covisits.items():
            damped = count / math.sqrt((item.popularity[1] + 5) * (world[other].popularity[1] + 5))
            scores[other] = scores.get(other, 0) + math.exp(-r / 5) * damped
    return scores


def habits(query: Query, world: World, _: Trends) -> dict[str, float]:
    by_hash = {hash64(item_id): item for item_id, item in world.items()}
    scores: dict[str, float] = {}
    for r, (item_hash, weight) in enumerate(history_of(query)[:15]):
        item = by_hash.get(item_hash)
        if item is None or weight < 0:
            continue
        for other, count in item.habits.items():
            damped = count / math.sqrt(item.popularity[1] + 5) / (world[other].popularity[1] + 5) ** 0.25
            scores[other] = scores.get(other, 0) + damped / (r + 1)
    return scores


def trending(query: Query, _: World, trends: Trends) -> dict[str, float]:
    scores: dict[str, float] = {}
    for s, segment in enumerate(query.segments):
        weights = trends.get(segment, {})
        for item, weight in weights.items():
            scores[item] = scores.get(item, 0) + 0.5**s * weight / max(weights.values())
    return scores


def content(query: Query, world: World, _: Trends) -> dict[str, float]:
    """Of a world small enough for every item to stand in each of its attributes' lists."""
    interests: dict[int, Any] = dict(evidence_of(query).interests)
    if not interests:
        looked_at = [item for item in world.values() if hash64(item.item_id) == query.current_item]
        interests = {hash32(name): (1.0, 1.0) for item in looked_at for name in item.attributes}
    moment = max((abs(pair[0]) for pair in interests.values()), default=0)
    habit = max((abs(pair[1]) for pair in interests.values()), default=0)
    tastes = {}
    for attribute, (short, long) in interests.items():
        carriers = sum(attribute in map(hash32, item.attributes) for item in world.values())
        if carriers:
            idf = math.log((1 + len(world)) / (1 + carriers))
            tastes[attribute] = ((short / moment if moment else 0) + (long / habit if habit else 0)) * idf
    strongest = sorted((a for a in tastes if tastes[a] > 0), key=lambda a: (-tastes[a], a))[:8]
    scores = {
        item.item_id: sum(tastes[a] for a in strongest if a in map(hash32, item.attributes)) for item in world.values()
    }
    return {item: score for item, score in scores.items() if score > 0}


def sequence(query: Query, world: World, _: Trends, encoder: AnEncoder) -> dict[str, float]:
    """By how much the logit of each item falls short of the largest one's."""
    vectors = {item_id: encoder.vector_of(hash64(item_id)) for item_id in world}
    by_hash = {hash64(item_id): vector for item_id, vector in vectors.items()}
    read = [by_hash[item] for item, weight in history_of(query) if weight > 0 and any(by_hash.get(item, ()))][
        : encoder.n_recent
    ]
    if not read:
        return {}
    user = [sum(cells) + 2 * cells[0] for cells in zip(*read, strict=True)]
    logits = {
        item_id: sum(u * v for u, v in zip(user, vector, strict=True))
        for item_id, vector in vectors.items()
        if any(vector) and allowed(query, world[item_id])
    }
    return {item_id: 1 / (1 + max(logits.values()) - logit) for item_id, logit in logits.items()}
