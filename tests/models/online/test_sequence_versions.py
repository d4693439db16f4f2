"""A sequence model on `model-updates`: published by a person, kept beside what serves, joined again from its parts."""

import json
from typing import Any

import pytest
import torch

from models.names import SEQUENCE
from models.online import versions as versions_module
from models.online.registry import VersionRegistry
from models.online.versions import FOLLOWED_SLOTS, PERSONS_SLOTS, Row, in_order, pin_row, rows_of_sequence
from models.rankers.checkpoint import CheckpointError, write_tensors
from models.sequence.checkpoint import SequenceCheckpoint, read_sequence_checkpoint
from tests.models.online.test_registry import a_registry, decided
from tests.models.sequence.builders import LEARNED_UNTIL, a_sequence_model


def take(registry: VersionRegistry, rows: list[Row]) -> None:
    for row in rows:
        registry.take(row.key.encode(), row.value)


def publish(registry: VersionRegistry, model: SequenceCheckpoint) -> list[Row]:
    rows = rows_of_sequence(model, registry.versions(SEQUENCE), registry.in_use(SEQUENCE))
    take(registry, rows)
    return rows


def changed(registry: VersionRegistry) -> dict[str, str | None]:
    return {name: served and served.version for name, served in registry.changes()}


def test_a_published_model_comes_out_with_the_same_weights_beside_rankers():
    registry, model = a_registry(decided(1)), a_sequence_model()
    publish(registry, model)
    served = dict(registry.changes())
    assert set(served) == {"mlp", SEQUENCE}
    again = served[SEQUENCE]
    assert isinstance(again, SequenceCheckpoint)
    assert again.to_bytes() == model.to_bytes()


def test_a_version_says_what_it_was_worth_and_how_new_it_is():
    registry = VersionRegistry()
    publish(registry, a_sequence_model())
    [version] = registry.versions(SEQUENCE)
    assert (version.number, version.decision, version.learned_until) == (1, "published", LEARNED_UNTIL)
    assert version.evidence == {"ndcg@10": 0.039, "n_slates": 411.0}


def test_the_newest_serves_and_the_two_before_it_are_kept():
    registry, models = VersionRegistry(), [a_sequence_model(seed) for seed in range(5)]
    for model in models:
        publish(registry, model)
        assert changed(registry) == {SEQUENCE: model.version}
    assert [version.version for version in registry.versions(SEQUENCE)] == [
        model.version for model in reversed(models[-len(PERSONS_SLOTS) :])
    ]
    older = registry.before(SEQUENCE)
    assert older is not None
    take(registry, [pin_row(SEQUENCE, older)])
    assert changed(registry) == {SEQUENCE: models[-2].version}


def test_what_a_person_has_chosen_is_never_written_over():
    registry, models = VersionRegistry(), [a_sequence_model(seed) for seed in range(6)]
    publish(registry, models[0])
    take(registry, [pin_row(SEQUENCE, registry.versions(SEQUENCE)[0])])
    for model in models[1:]:
        publish(registry, model)
    assert changed(registry) == {SEQUENCE: models[0].version}
    assert registry.chosen(SEQUENCE).version == models[-1].version
    take(registry, [pin_row(SEQUENCE, None)])
    assert changed(registry) == {SEQUENCE: models[-1].version}


def test_what_goes_on_learning_leaves_what_a_person_has_published():
    registry, persons = VersionRegistry(), a_sequence_model(0)
    publish(registry, persons)
    for seed in range(1, 9):
        known, in_use = registry.versions(SEQUENCE), registry.in_use(SEQUENCE)
        take(registry, rows_of_sequence(a_sequence_model(seed), known, in_use, FOLLOWED_SLOTS))
    assert persons.version in {version.version for version in registry.versions(SEQUENCE)}
    assert changed(registry) == {SEQUENCE: a_sequence_model(8).version}


def test_wherever_the_writing_of_a_version_ends_a_whole_one_serves(monkeypatch: pytest.MonkeyPatch):
    """Rows go to several partitions: of those between two waits any may be there."""
    monkeypatch.setattr(versions_module, "PART_BYTES", 1_000)
    models = [a_sequence_model(seed) for seed in range(5)]
    for n_whole in range(1, 5):  # the fifth is written over the oldest
        registry, log = VersionRegistry(), list[Row]()
        for model in models[:n_whole]:
            log += publish(registry, model)
        waits: list[list[Row]] = [[]]
        rows = rows_of_sequence(models[n_whole], registry.versions(SEQUENCE), registry.in_use(SEQUENCE))
        in_order(rows, lambda row, waits=waits: waits[-1].append(row), lambda waits=waits: waits.append([]))
        sure: list[Row] = []
        for written in waits:
            for there in (written[:1], written[1:], list(reversed(written))):
                left = VersionRegistry()
                take(left, [*log, *sure, *there])
                assert changed(left) in ({SEQUENCE: models[n_whole - 1].version}, {SEQUENCE: models[n_whole].version})
                for version in left.versions(SEQUENCE):  # whatever is listed can be chosen
                    take(left, [pin_row(SEQUENCE, version)])
                    assert left.serving(SEQUENCE).version == version.version
                    assert changed(left) in ({}, {SEQUENCE: version.version})
            sure += written
        assert changed(left) in ({}, {SEQUENCE: models[n_whole].version})


def test_parts_of_a_longer_version_before_are_taken_away(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(versions_module, "PART_BYTES", 1_000)
    registry, held = VersionRegistry(), dict[str, bytes | None]()
    for seed in range(len(PERSONS_SLOTS)):
        held.update(publish(registry, a_sequence_model(seed, n_dimensions=16)))
    for seed in range(len(PERSONS_SLOTS)):
        held.update(publish(registry, a_sequence_model(10 + seed)))
    newest = registry.versions(SEQUENCE)
    parts = [key for key, value in held.items() if value is not None and key.count("/") == 3]
    assert len(parts) == sum(version.n_parts for version in newest)
    assert changed(registry) == {SEQUENCE: newest[0].version}


def test_a_model_that_is_too_long_is_refused_before_anything_is_written(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(versions_module, "MAX_PARTS", 2)
    monkeypatch.setattr(versions_module, "PART_BYTES", 100)
    with pytest.raises(ValueError, match="and a version may have 200"):
        rows_of_sequence(a_sequence_model(), (), ())


def test_a_ranker_under_the_name_of_the_sequence_model_is_refused_and_what_serves_goes_on():
    registry, model = VersionRegistry(), a_sequence_model()
    publish(registry, model)
    assert changed(registry) == {SEQUENCE: model.version}
    take(registry, decided(3, name=SEQUENCE))
    with pytest.raises(CheckpointError, match="is no sequence model"):
        changed(registry)
    assert changed(registry) == {}


def rewritten(**metadata: Any) -> bytes:
    """Write a model's bytes with other metadata and an honest digest."""
    data = a_sequence_model().to_bytes()
    n_header = int.from_bytes(data[:8], "little")
    said = json.loads(data[8 : 8 + n_header])["__metadata__"]
    from safetensors.torch import load  # noqa: PLC0415 - only what forges needs it

    return write_tensors(load(data), said | {name: json.dumps(value) for name, value in metadata.items()})


SHAPE = {"n_dimensions": 8, "n_blocks": 1, "n_heads": 1, "n_recent": 32, "dropout": 0.2}


@pytest.mark.parametrize(
    "metadata",
    [
        {"config": SHAPE | {"n_dimensions": 10**9}},
        {"config": SHAPE | {"n_dimensions": 1_024}},
        {"config": SHAPE | {"n_blocks": 10**6}},
        {"config": SHAPE | {"n_heads": 3}},
        {"config": []},
        {"provenance": {"learned_until": 1e400}},
        {"provenance": {"learned_until": "tomorrow"}},
        {"provenance": {"validation": 5}},
        {"provenance": {"validation": {"n": [], "ndcg@10": None}}},
    ],
)
def test_a_model_that_says_what_cannot_be_of_itself_is_refused(metadata: dict[str, Any]):
    with pytest.raises(CheckpointError):
        read_sequence_checkpoint(rewritten(**metadata), "here")


def test_an_honest_rewriting_is_read():
    """So that what is refused above is refused for what it says."""
    read_sequence_checkpoint(rewritten(config=SHAPE), "here")


def test_no_memory_is_taken_for_weights_that_are_not_there(monkeypatch: pytest.MonkeyPatch):
    wrong, made = rewritten(config=SHAPE | {"n_dimensions": 512}), list[str]()
    original = torch.nn.Embedding.__init__

    def noting(self: torch.nn.Embedding, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        made.append(str(self.weight.device))

    monkeypatch.setattr(torch.nn.Embedding, "__init__", noting)
    with pytest.raises(CheckpointError):
        read_sequence_checkpoint(wrong, "here")
    assert set(made) == {"meta"}
