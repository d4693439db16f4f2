from pathlib import Path

import numpy as np
import pytest

from models.config import ItemSideConfig, ProfileConfig
from models.counts.item_side import ItemSide
from models.events import EventConfig
from models.messages import Event, Item
from models.names import FEATURE_SETS
from models.offline.fitting import Gathered, refitted, validated
from models.offline.seen import n_seen
from models.offline.train import Training, TrainingConfig, judge, train, until
from models.offline.walk import WalkConfig, walk
from models.rankers.checkpoint import SHIPPED, load_checkpoint, weights_digest
from models.rankers.fit import TrainConfig
from models.sequence.acts import Acts
from models.sequence.config import SequenceConfig, SequenceTraining
from models.sequence.encoder import SequenceEncoder
from models.sequence.fit import fit
from models.strategy import Strategy
from tests.models.offline.builders import NOW, a_catalog, an_event, random_past

TRENDS_ONLY = Strategy(sources={"trending": 1.0}, allow_seen=True)


def trained(events: list[Event], items: list[Item], path: Path, max_epochs: int = 3, seed: int = 0) -> Training:
    slates, fit = WalkConfig((TRENDS_ONLY,), publish_every=32), TrainConfig(max_epochs=max_epochs, seed=seed)
    config = TrainingConfig(slates, fit, least_examples=2)
    return train(events, items, "made-up", path, config)


def people_with_tastes(n: int = 1_500) -> list[Event]:
    """Everybody acts on any of the 20 items of one category, of 2; popularity says nothing."""
    rng = np.random.default_rng(0)
    users = rng.integers(30, size=n)
    return [an_event(k, f"u-{u}", f"i-{2 * rng.integers(20) + u % 2}") for k, u in enumerate(users.tolist())]


def test_a_signal_that_the_blend_does_not_see_is_learned(tmp_path: Path) -> None:
    training = trained(people_with_tastes(), a_catalog(40, 2), tmp_path / "r", max_epochs=15)
    [verdict] = training.verdicts
    assert verdict.learned.n == verdict.blend.n > 200
    # Of 10 among 20 items of the right category half can be hit, of 10 among all 40 a quarter.
    assert verdict.learned.hit_rate > 0.4
    assert verdict.blend.hit_rate < 0.33


def test_judging_a_ranker_later_on_the_same_slates_says_the_same(tmp_path: Path) -> None:
    events, items = people_with_tastes(600), a_catalog(40, 2)
    training = trained(events, items, tmp_path / "r")
    config = WalkConfig((TRENDS_ONLY,), publish_every=32)
    [again] = judge(load_checkpoint(tmp_path / "r"), events, items, until(events, 0.8) + 1, config)
    [verdict] = training.verdicts
    assert (again.learned, again.blend) == (verdict.learned, verdict.blend)


def test_a_ranker_learns_from_slates_after_what_the_sequence_model_has_learned(tmp_path: Path) -> None:
    table = ItemSide(a_catalog(40, 2), NOW, ItemSideConfig(), EventConfig(), ProfileConfig()).table
    events = people_with_tastes(900)
    shape, fitting = SequenceConfig(n_dimensions=8), SequenceTraining(max_epochs=1)
    found = fit(Acts.of_events(events[:450], EventConfig()), table, shape, fitting)
    strategy = Strategy(sources={"sequence": 1.0}, allow_seen=True)

    def n_examples(learned_until: int) -> int:
        encoder = SequenceEncoder(found.network, found.vocabulary, "v", learned_until)
        config = TrainingConfig(WalkConfig((strategy,), encoder=encoder), TrainConfig(max_epochs=1), least_examples=2)
        return train(events, a_catalog(40, 2), "made-up", tmp_path / "r", config).n_examples

    of_all, of_newer = n_examples(0), n_examples(events[449].timestamp)
    assert 0 < of_newer < of_all / 2
    with pytest.raises(ValueError, match="the sequence model has learned what happened until"):
        n_examples(events[-1].timestamp)


def test_what_lies_behind_the_training_part_changes_no_weight(tmp_path: Path) -> None:
    events = random_past(300)
    otherwise = events[:245] + random_past(300, seed=1)[245:]
    first, second = (trained(past, a_catalog(), tmp_path / "r") for past in (events, otherwise))
    assert first.checkpoint.digest == second.checkpoint.digest
    assert first.verdicts != second.verdicts


def test_the_same_past_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    digests = [trained(random_past(), a_catalog(), tmp_path / "r", seed=s).checkpoint.digest for s in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


def test_a_slate_that_is_answered_only_behind_the_training_part_neither_trains_nor_judges(tmp_path: Path) -> None:
    leaver = [an_event(0, "u-0", "i-1"), an_event(100, "u-0", "i-2")]
    others = [an_event(k, f"u-{1 + k % 7}", f"i-{k % 5}") for k in range(1, 100)]
    [verdict] = trained([leaver[0], *others, leaver[1]], a_catalog(), tmp_path / "r").verdicts
    # Made after second 80: 19 of the others' acts, of which the last of each user has no answer.
    assert verdict.learned.n == 19 - 7


def test_a_checkpoint_says_what_it_came_from(tmp_path: Path) -> None:
    training = trained(random_past(), a_catalog(), tmp_path / "r")
    loaded = load_checkpoint(tmp_path / "r")
    provenance = loaded.provenance
    assert loaded.version == f"made-up-{loaded.digest[:8]}"
    assert (provenance["data_set"], provenance["seed"], provenance["trained_from"]) == ("made-up", 0, "2023-11-14")
    assert provenance["n_examples"] == training.n_examples > 0
    # A walk of 200 seconds: the acts of the first four fifths were learned.
    assert n_seen(provenance, random_past()[:160]) == 160
    assert n_seen(provenance, random_past()[160:]) == 0
    assert provenance["verdicts"][0]["mlp"]["hr@10"] == round(training.verdicts[0].learned.hit_rate, 4)


def test_a_past_without_examples_or_without_a_later_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there are 0 examples"):
        trained([an_event(k, item=f"new-{k}") for k in range(50)], [], tmp_path / "r")
    at_once = [an_event(k, f"u-{k % 2}", f"i-{k % 5}", timestamp=NOW) for k in range(50)]
    with pytest.raises(ValueError, match="nobody did anything after"):
        trained(at_once, a_catalog(), tmp_path / "r")
    assert not list(tmp_path.iterdir())


def test_the_shipped_checkpoint_is_small_and_of_features_that_are_computed() -> None:
    shipped = load_checkpoint(SHIPPED)
    assert shipped.model.features == FEATURE_SETS["v4"]
    assert SHIPPED.stat().st_size < 65_536
    assert shipped.version == f"{shipped.provenance['data_set']}-{shipped.digest[:8]}"


def test_the_shipped_checkpoint_won_against_the_blend_on_what_came_after_its_training() -> None:
    provenance = load_checkpoint(SHIPPED).provenance
    assert provenance["trained_until"] < provenance["judged_until"]
    for verdict in provenance["verdicts"]:
        assert verdict["mlp"]["hr@10"] > verdict["blend"]["hr@10"]
        assert verdict["mlp"]["mrr"] > verdict["blend"]["mrr"]


def test_on_too_few_examples_nothing_is_trained_and_they_are_counted(tmp_path: Path) -> None:
    config = TrainingConfig(WalkConfig((TRENDS_ONLY,)))
    with pytest.raises(ValueError, match=r"there are \d+ examples.* 200 are needed"):
        train(random_past(150), a_catalog(), "made-up", tmp_path / "r", config)
    assert not list(tmp_path.iterdir())


def test_what_ships_has_learned_from_the_newest_examples_too(tmp_path: Path) -> None:
    """As in a backtest: what was held out to validate on is not lost to the ranker that serves."""
    config, fit_config = WalkConfig((TRENDS_ONLY,), publish_every=32), TrainConfig(max_epochs=3)
    events, items = people_with_tastes(), a_catalog(40, 2)
    training = train(events, items, "made-up", tmp_path / "r", TrainingConfig(config, fit_config))
    gathered = Gathered(1.0, 0)
    for examples in walk(events, items, config):
        gathered.add(examples[examples.answered_at <= until(events, 0.8)])
    again = refitted(gathered.all(), fit_config, validated(gathered.all(), fit_config).n_epochs)
    assert weights_digest(again) == training.checkpoint.digest


def test_the_second_fit_stops_where_the_first_was_best_and_learns_nothing_by_heart() -> None:
    """Of people who do things at random there is nothing to learn, and a network with ids remembers who did what."""
    gathered, config = Gathered(1.0, 0), TrainConfig(kind="neumf", learning_rate=3e-2, max_epochs=8)
    for examples in walk(random_past(1_500, 30, 40), a_catalog(40, 2), WalkConfig((TRENDS_ONLY,), publish_every=32)):
        gathered.add(examples)
    losses: list[float] = []
    found = validated(gathered.all(), config, lambda _epoch, _loss, valid: losses.append(valid))
    assert found.n_epochs == 1 + int(np.argmin(losses)) < config.max_epochs
    epochs: list[int] = []
    model = refitted(gathered.all(), config, found.n_epochs, lambda epoch, *_losses: epochs.append(epoch))
    assert epochs == list(range(1, found.n_epochs + 1))
    to_the_end = refitted(gathered.all(), config, config.max_epochs)
    assert weights_digest(model) != weights_digest(to_the_end)
