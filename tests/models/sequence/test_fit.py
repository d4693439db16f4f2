"""A sequence model learns what comes next, for items that it has met and for those it knows by their kind alone."""

import numpy as np
import pytest
import torch

from models.config import ItemSideConfig, ProfileConfig
from models.counts.item_side import ItemSide
from models.events import EventConfig
from models.items import ItemTable
from models.messages import Item
from models.numeric.ids import hash64
from models.rankers.checkpoint import CheckpointError
from models.sequence.acts import Acts
from models.sequence.checkpoint import SequenceCheckpoint, named, read_sequence_checkpoint
from models.sequence.config import SequenceConfig, SequenceTraining
from models.sequence.fit import Fitted, Validation, fit

N = 12
CATALOG = [Item(f"i-{n}", categories=[f"kind-{n % 3}"]) for n in range(N + 1)]
SHAPE = SequenceConfig(n_dimensions=16, dropout=0.0)
TRAINING = SequenceTraining(learning_rate=1e-2, batch_size=16, n_negatives=64, max_epochs=30)


def a_table() -> ItemTable:
    return ItemSide(CATALOG, 0, ItemSideConfig(), EventConfig(), ProfileConfig()).table


def a_round(seed: int, n_users: int = 60, n_acts: int = 8) -> list[list[tuple[int, int]]]:
    """Users who go round the items, each from some item on."""
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, N, n_users).tolist()
    return [[(1_000 * at, hash64(f"i-{(start + at) % N}")) for at in range(n_acts)] for start in starts]


def trained() -> Fitted:
    users = a_round(1)
    validation = Validation(Acts.of_users([own[:-1] for own in users]), np.array([own[-1][1] for own in users]))
    return fit(Acts.of_users([own[:-1] for own in users]), a_table(), SHAPE, TRAINING, validation)


def logits_after(checkpoint: SequenceCheckpoint, items: list[str]) -> np.ndarray:
    """Score all items of the catalog after these."""
    table, encoder = a_table(), checkpoint.encoder()
    hashes = np.array([hash64(item) for item in items], np.int64)
    acts = encoder.item_vectors(table.rows_of(hashes), table)[None]
    at = 1_000 * np.arange(len(items), dtype=np.int64)[None]
    user = encoder.user_vectors(acts, at, np.array([len(items)], np.int64))
    every = np.array([hash64(item.item_id) for item in CATALOG], np.int64)
    return np.asarray(user @ encoder.item_vectors(table.rows_of(every), table).T)[0]


@pytest.fixture(scope="module")
def checkpoint() -> SequenceCheckpoint:
    found = trained()
    return named(found.network, found.vocabulary, "round", {"ndcg": found.ndcg})


def test_what_comes_next_is_first():
    assert trained().ndcg > 0.95


def test_the_same_past_gives_the_same_weights(checkpoint: SequenceCheckpoint):
    found = trained()
    assert named(found.network, found.vocabulary, "round", {}).version == checkpoint.version


def test_an_item_that_nobody_has_met_is_taken_for_one_of_its_kind(checkpoint: SequenceCheckpoint):
    logits = logits_after(checkpoint, [f"i-{n}" for n in range(3, 8)])  # i-8 is next, of kind-2
    assert logits.argmax() == 8
    kinds = np.arange(N + 1) % 3
    assert logits[N] < logits[8]  # i-12, of kind-0, was never met
    later = logits_after(checkpoint, [f"i-{n}" for n in range(4, 9)])  # i-9 is next, of kind-0
    assert later[N] > later[kinds != 0].max()


def test_padding_behind_changes_nothing(checkpoint: SequenceCheckpoint):
    table, encoder = a_table(), checkpoint.encoder()
    rows = table.rows_of(np.array([hash64(f"i-{n}") for n in range(6)], np.int64))
    acts = encoder.item_vectors(rows, table)[None]
    at = 1_000 * np.arange(6, dtype=np.int64)[None]
    three = np.array([3], np.int64)
    short = encoder.user_vectors(acts[:, :3].copy(), at[:, :3].copy(), three)
    np.testing.assert_allclose(encoder.user_vectors(acts, at, three), short, atol=1e-5)


def test_nobody_who_did_two_things_is_nothing_to_learn_from():
    with pytest.raises(ValueError, match="no user did two things"):
        fit(Acts.of_users([[(1, hash64("i-1"))]]), a_table(), SHAPE, TRAINING)


def test_a_checkpoint_comes_back_as_it_was_written(checkpoint: SequenceCheckpoint):
    again = read_sequence_checkpoint(checkpoint.to_bytes(), "here")
    assert again.version == checkpoint.version
    assert again.provenance == {"ndcg": checkpoint.provenance["ndcg"]}
    after = [f"i-{n}" for n in range(3)]
    assert (logits_after(again, after) == logits_after(checkpoint, after)).all()
    assert again.to_bytes() == checkpoint.to_bytes()


def test_a_damaged_checkpoint_is_refused(checkpoint: SequenceCheckpoint):
    data = bytearray(checkpoint.to_bytes())
    data[-2] ^= 1
    with pytest.raises(CheckpointError, match=r"damaged|config"):
        read_sequence_checkpoint(bytes(data), "here")
    with pytest.raises(CheckpointError, match="no safetensors file"):
        read_sequence_checkpoint(b"nothing", "here")


def test_weights_that_are_no_numbers_are_refused(checkpoint: SequenceCheckpoint):
    network = read_sequence_checkpoint(checkpoint.to_bytes(), "here").network
    with torch.no_grad():
        network.norm.weight[0] = float("nan")
    data = SequenceCheckpoint(network, checkpoint.vocabulary, "v").to_bytes()
    with pytest.raises(CheckpointError, match="no finite numbers"):
        read_sequence_checkpoint(data, "here")


def test_a_ranker_is_no_sequence_model():
    from models.rankers.checkpoint import SHIPPED  # noqa: PLC0415

    with pytest.raises(CheckpointError, match="no sequence model"):
        read_sequence_checkpoint(SHIPPED.read_bytes(), "here")
