"""Training a sequence model on a file's past, and going on from one."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.config import ItemSideConfig, ProfileConfig
from models.counts.item_side import ItemSide
from models.events import EventConfig
from models.items import ItemTable
from models.messages import Event
from models.offline.seen import n_seen
from models.offline.train_sequence import MOST_OF_USER, SequenceTrainingConfig, TrainedSequence, train_sequence
from models.sequence.acts import Acts
from models.sequence.checkpoint import SequenceCheckpoint, load_sequence_checkpoint
from models.sequence.config import SequenceConfig, SequenceTraining
from tests.models.offline.builders import NOW, a_catalog, an_event

CONFIG = SequenceTrainingConfig(
    SequenceConfig(n_dimensions=16), SequenceTraining(learning_rate=1e-2, batch_size=16, max_epochs=12)
)


def rounds(n_users: int = 60, n_acts: int = 12, n_items: int = 20) -> list[Event]:
    """Everybody goes round the items."""
    return [
        an_event(act * n_users + user, f"u-{user}", f"i-{(user + act) % n_items}")
        for act in range(n_acts)
        for user in range(n_users)
    ]


def a_table() -> ItemTable:
    return ItemSide(a_catalog(30), NOW, ItemSideConfig(), EventConfig(), ProfileConfig()).table


def trained(events: list[Event], path: Path, start: SequenceCheckpoint | None = None) -> TrainedSequence:
    return train_sequence(events, a_table(), "rounds", path, CONFIG, start=start)


def test_the_model_that_is_saved_says_what_it_came_from(tmp_path: Path):
    events = rounds()
    training = trained(events, tmp_path / "s")
    loaded = load_sequence_checkpoint(tmp_path / "s")
    assert loaded.version == training.checkpoint.version
    assert loaded.version.startswith("rounds-")
    assert training.ndcg > 0.8
    assert loaded.provenance["n_acts"] == len(events)
    assert loaded.provenance["learned_until"] == events[-1].timestamp
    assert n_seen(loaded.provenance, events) > 0


def test_going_on_from_a_model_keeps_what_it_knows_of_other_items(tmp_path: Path):
    first = trained(rounds(), tmp_path / "s").checkpoint
    later = [an_event(k, f"v-{k % 60}", f"i-{20 + (k % 60 + k // 60) % 10}") for k in range(720)]
    again = trained(later, tmp_path / "t", first).checkpoint
    assert set(first.vocabulary.items.tolist()) < set(again.vocabulary.items.tolist())
    assert again.provenance["started_from"] == first.version
    assert n_seen(again.provenance, rounds()) > 0


def test_too_few_who_went_on_are_no_ground_to_judge_by(tmp_path: Path):
    with pytest.raises(ValueError, match="fewer than 50 acts followed"):
        trained(rounds(n_users=20), tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_few_users_who_do_much_judge_as_well(tmp_path: Path):
    events = [an_event(k, f"u-{k // 100}", f"i-{k % 10}") for k in range(4_000)]  # one after the other
    config = replace(CONFIG, train_share=0.5, fit=replace(CONFIG.fit, max_epochs=40))
    training = train_sequence(events, a_table(), "long", tmp_path / "s", config)
    assert training.n_judged == 20 * MOST_OF_USER
    assert training.ndcg > 0.8


def test_nothing_that_counts_is_nothing_to_learn(tmp_path: Path):
    with pytest.raises(ValueError, match="no acts"):
        trained([an_event(0, "u", "i-1", event_type="impression")], tmp_path / "s")


def test_pairs_are_counted_within_users():
    assert Acts.of_users([[(1, 1), (2, 2), (3, 3)], [], [(1, 4)]]).n_pairs == 2
