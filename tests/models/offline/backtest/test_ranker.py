from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from models.counts.item_side import ItemSide
from models.messages import Event
from models.names import FEATURES
from models.offline.backtest.config import BacktestConfig
from models.offline.backtest.ranker import LEARNED_AT_ONCE, learn_with_ranker, trained
from models.offline.backtest.sequence_models import Encoders
from models.offline.fitting import LEAST_EXAMPLES, Gathered
from models.offline.walk import Examples
from models.rankers.checkpoint import Checkpoint
from models.rankers.inputs import Inputs
from models.rankers.served import NetworkRanker
from models.strategy import Strategy
from tests.models.builders import NOW


def some_examples(n: int, signal: str | None) -> Examples:
    """Slates of 8 whose label is where a feature is largest, or anywhere; the blend says nothing."""
    rng = np.random.default_rng(0)
    features = rng.random((n, 8, len(FEATURES)), np.float32)
    label: Any = rng.integers(0, 8, n)
    if signal is not None:
        label = features[:, :, FEATURES.index(signal)].argmax(axis=1)
    at = np.arange(n)
    return Examples(Inputs.of_features(features), label, np.ones((n, 8), np.bool_), at, at, 0)


def ranker(examples: Examples) -> Checkpoint | None:
    gathered = Gathered(1.0, 0)
    gathered.add(examples)
    return trained(gathered, BacktestConfig(k=2), lambda *_: None)


def test_a_ranker_that_beats_the_blend_on_what_was_held_out_is_taken():
    examples = some_examples(600, "back")
    checkpoint = ranker(examples)
    assert checkpoint is not None
    assert (NetworkRanker(checkpoint.model).score(examples.inputs).argmax(axis=1) == examples.label_index).mean() > 0.6


def test_a_ranker_that_learned_nothing_leaves_the_blend_in_its_place():
    by_blend = some_examples(600, "blend")
    noise = by_blend.inputs.features.copy()
    noise[:480] = some_examples(480, None).inputs.features
    misled = Examples(
        Inputs.of_features(noise), by_blend.label_index, by_blend.present, by_blend.made_at, by_blend.answered_at, 0
    )
    assert ranker(misled) is None


def test_too_few_examples_make_no_ranker():
    assert ranker(some_examples(LEAST_EXAMPLES - 1, "back")) is None


def test_what_is_learned_from_is_asked_with_a_model_that_has_not_seen_it(monkeypatch: pytest.MonkeyPatch):
    """Of two earlier models each is in use from the moment on that it knows nothing of, the last one at the end."""
    stream = [Event(f"e{n}", f"u{n % 7}", f"i{n % 11}", "click", NOW + 1_000 * n) for n in range(2_000)]
    first_at, second_at = stream[1_000].timestamp, stream[1_600].timestamp
    readers: list[tuple[str | None, int]] = []
    newest = [0]
    kept: list[int] = []

    def learn(side: ItemSide, events: Sequence[Event], plain: Any = ItemSide.learn) -> None:
        newest[0] = max(event.timestamp for event in events)
        plain(side, events)

    def add(gathered: Gathered, examples: Examples, plain: Any = Gathered.add) -> None:
        kept.extend(examples.made_at.tolist())
        plain(gathered, examples)

    later = SimpleNamespace(encoder=lambda: "later")
    models = Encoders(((first_at, cast("Any", "first")), (second_at, cast("Any", "second"))), cast("Any", later))
    monkeypatch.setattr("models.offline.backtest.ranker.train_encoders", lambda *_: models)
    monkeypatch.setattr(ItemSide, "read_with", lambda _, encoder: readers.append((encoder, newest[0])))
    monkeypatch.setattr(ItemSide, "learn", learn)
    monkeypatch.setattr(Gathered, "add", add)
    learn_with_ranker(stream, [], Strategy(), BacktestConfig(), lambda *_: None)
    assert [name for name, _ in readers] == ["first", "second", "later"]
    [(_, began), (_, changed), (_, ended)] = readers
    assert (began, ended) == (0, stream[-1].timestamp)
    assert second_at - 1_000 * LEARNED_AT_ONCE - 1_000 <= changed < second_at + 1_000 * LEARNED_AT_ONCE
    assert min(kept) >= first_at
