from random import Random

import pytest

from models.names import FEATURES
from models.offline.seen import LEARNED, N_KEPT, n_seen, refuse_seen, sample_of
from models.rankers.checkpoint import Checkpoint
from models.rankers.networks import new_network
from tests.models.offline.builders import an_event

ACTS = [an_event(n) for n in range(2_000)]


def test_a_sample_is_the_same_in_any_order_and_for_parts_learned_one_after_another():
    shuffled = Random(0).sample(ACTS, len(ACTS))  # noqa: S311 - no secret is made of it
    sample = sample_of(ACTS)
    assert len(sample) == N_KEPT
    assert sample_of(shuffled) == sample
    assert sample_of(ACTS[1_200:], sample_of(ACTS[:1_200])) == sample
    assert sample_of(ACTS[:3]) == sorted(sample_of(ACTS[:3]))


def test_a_part_of_what_was_learned_is_noticed_and_nothing_else_is():
    provenance = {LEARNED: sample_of(ACTS)}
    assert n_seen(provenance, ACTS) == N_KEPT
    # Of a tenth some 26 are in the sample.
    assert 10 < n_seen(provenance, ACTS[::10]) < 50
    assert n_seen(provenance, [an_event(n) for n in range(2_000, 4_000)]) == 0
    assert n_seen(provenance, [an_event(n, user="another") for n in range(2_000)]) == 0


def test_a_checkpoint_that_says_nothing_is_not_refused():
    model = new_network("mlp", len(FEATURES), seed=0)
    refuse_seen(None, ACTS)
    refuse_seen(Checkpoint(model, "older-1", ""), ACTS)
    with pytest.raises(ValueError, match="older-1 has learned acts that it would be judged by"):
        refuse_seen(Checkpoint(model, "older-1", "", {LEARNED: sample_of(ACTS)}), ACTS)
