from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.online import registry as registry_module
from models.online import versions as versions_module
from models.online.published import Published
from models.online.registry import VersionRegistry
from models.online.versions import N_SLOTS, Choice, Row, Version, pin_row, rows_of
from models.rankers.checkpoint import Checkpoint, CheckpointError, weights_digest
from models.rankers.networks import new_network
from models.rankers.served import NetworkRanker
from tests.models.rankers.builders import N_FEATURES, some_inputs

NOW = 1_700_000_000_000


def a_decision(number: int, kind: str = "mlp", *, is_rollback: bool = False) -> Published:
    model = new_network(kind, N_FEATURES, number)
    digest = weights_digest(model)
    checkpoint = Checkpoint(model, f"{kind}-{number}-{digest[:8]}", digest)
    return Published(checkpoint, number, is_rollback, NOW + number, {"loss": 0.5, "n_judged": 80})


def decided(*numbers: int, name: str = "mlp") -> list[Row]:
    return [row for number in numbers for row in rows_of(name, a_decision(number))]


def a_registry(rows: list[Row]) -> VersionRegistry:
    registry = VersionRegistry()
    for row in rows:
        registry.take(row.key.encode(), row.value)
    return registry


def now_serving(registry: VersionRegistry) -> dict[str, str | None]:
    return {name: checkpoint and checkpoint.version for name, checkpoint in registry.changes()}


def version(number: int) -> str:
    checkpoint = a_decision(number).checkpoint
    assert checkpoint is not None
    return checkpoint.version


def test_what_was_published_serves_with_the_same_weights():
    published = a_decision(3)
    [(name, checkpoint)] = a_registry(rows_of("mlp", published)).changes()
    assert (name, checkpoint and checkpoint.version) == ("mlp", version(3))
    inputs = some_inputs()
    assert checkpoint is not None
    assert published.checkpoint is not None
    scores = [NetworkRanker(held.model).score(inputs) for held in (checkpoint, published.checkpoint)]
    assert np.array_equal(*scores)


def test_a_change_is_reported_once():
    registry = a_registry(decided(1))
    assert now_serving(registry) == {"mlp": version(1)}
    assert now_serving(registry) == {}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_in_any_order_of_rows_the_chosen_version_serves(data: st.DataObject):
    """As partitions are read: each row overtakes others, but of a key the later row stays the later."""
    rows = decided(1, 2, 2 + N_SLOTS)
    order = data.draw(st.permutations(range(len(rows))))
    newest = {row.key: row for row in rows}
    registry = a_registry([newest[rows[k].key] for k in order])
    assert now_serving(registry) == {"mlp": version(2 + N_SLOTS)}


def test_a_version_that_is_not_complete_does_not_serve(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(versions_module, "PART_BYTES", 1_000)
    rows = decided(1, 2)
    for k, row in enumerate(rows):
        missing = a_registry([other for other in rows if other is not row])
        serving = now_serving(missing)
        if row.key == "ranker/mlp":
            assert serving == {"mlp": version(2)} if k < len(rows) / 2 else {"mlp": version(1)}
        else:
            assert serving == ({"mlp": version(2)} if "mlp/1" in row.key else {})


def test_while_a_version_arrives_the_one_before_it_serves():
    first, second = decided(1), decided(2)
    registry = a_registry(first)
    assert now_serving(registry) == {"mlp": version(1)}
    for row in [second[-1], *second[:-2]]:
        registry.take(row.key.encode(), row.value)
        assert now_serving(registry) == {}
    registry.take(second[-2].key.encode(), second[-2].value)
    assert now_serving(registry) == {"mlp": version(2)}


def test_the_newest_versions_are_kept_to_go_back_to():
    registry = a_registry(decided(*range(1, 12)))
    assert [known.number for known in registry.versions("mlp")] == list(range(11, 3, -1))
    assert registry.versions("mlp")[0] == Version(
        version(11), 11, 3, 1, registry.versions("mlp")[0].digest, NOW + 11, evidence={"loss": 0.5, "n_judged": 80}
    )


def test_a_version_row_of_an_older_release_still_reads():
    row = b'{"version":"mlp-7","number":7,"slot":7,"n_parts":2,"digest":"d","learned_until":5,"is_rollback":true,'
    row += b'"told":{"loss":0.5,"concordance":0.7,"replaced":0.6,"n_judged":80,"n_slates":640}}'
    registry = a_registry([Row("ranker/mlp/7", row)])
    evidence = {"loss": 0.5, "pairwise_auc": 0.7, "replaced": 0.6, "n_judged": 80, "n_slates": 640}
    assert registry.versions("mlp") == [Version("mlp-7", 7, 7, 2, "d", 5, is_rollback=True, evidence=evidence)]


def test_an_older_release_reads_a_version_row_without_its_evidence():
    class OlderVersion(msgspec.Struct):
        version: str
        number: int
        slot: int
        n_parts: int
        digest: str
        learned_until: int
        is_rollback: bool = False
        told: dict[str, float] = msgspec.field(default_factory=dict)

    [value] = [row.value for row in decided(3) if row.key == "ranker/mlp/3"]
    older = msgspec.json.decode(value or b"", type=OlderVersion)
    assert (older.version, older.number, older.told) == (version(3), 3, {})


def test_a_persons_choice_comes_before_that_of_learn_until_it_is_taken_back():
    registry = a_registry(decided(1, 2))
    assert now_serving(registry) == {"mlp": version(2)}
    older = registry.versions("mlp")[1]
    for row in [pin_row("mlp", older), *decided(3)]:
        registry.take(row.key.encode(), row.value)
    assert now_serving(registry) == {"mlp": version(1)}
    assert registry.pinned("mlp") == Choice(version(1), older.slot)
    assert registry.chosen("mlp").version == version(3)
    row = pin_row("mlp", None)
    registry.take(row.key.encode(), row.value)
    assert now_serving(registry) == {"mlp": version(3)}
    assert registry.pinned("mlp") is None


def test_where_no_version_is_good_the_blend_serves():
    registry = a_registry(decided(1))
    now_serving(registry)
    [row] = rows_of("mlp", Published(None, 2, is_rollback=True, learned_until=NOW, evidence={}))
    registry.take(row.key.encode(), row.value)
    assert now_serving(registry) == {"mlp": None}


def test_rankers_of_variants_stand_beside_each_other_whatever_their_names():
    names = ["mlp", "mlp.left/right é", "gru"]
    registry = a_registry([row for number, name in enumerate(names) for row in decided(number, name=name)])
    assert registry.names == sorted(names)
    assert now_serving(registry) == {name: version(number) for number, name in enumerate(names)}


def test_a_damaged_version_raises_once_and_the_one_before_it_serves_on():
    registry = a_registry(decided(1))
    assert now_serving(registry) == {"mlp": version(1)}
    good = a_decision(2)
    assert good.checkpoint is not None
    bad = replace(good, checkpoint=replace(good.checkpoint, digest="0"))
    for row in rows_of("mlp", bad):
        registry.take(row.key.encode(), row.value)
    with pytest.raises(CheckpointError, match="damaged"):
        now_serving(registry)
    assert now_serving(registry) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [("ranker/mlp", b"{"), ("ranker/mlp/x", b"{}"), ("ranker/mlp/1/0", b"\xff"), ("ranker/mlp/1/2/3", b"")],
)
def test_a_malformed_row_is_refused_by_its_key(key: str, value: bytes):
    with pytest.raises(ValueError, match=key):
        VersionRegistry().take(key.encode(), value)


def test_no_row_is_larger_than_a_kafka_message():
    rows = rows_of("neumf", a_decision(1, "neumf"))
    assert len(rows) > 3
    assert max(len(row.value or b"") for row in rows) < 1_000_000


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("ranker/mlp/1", {"n_parts": 3 * 10**7}),
        ("ranker/mlp/1", {"n_parts": 0}),
        ("ranker/mlp/1", {"slot": N_SLOTS}),
        ("ranker/mlp/1", {"learned_until": 2**60}),
        (f"ranker/mlp/{N_SLOTS}", {}),
        ("ranker/mlp/-1", {}),
        ("ranker/mlp/1/256", {}),
    ],
)
def test_a_number_out_of_bounds_is_refused_by_its_rows_key(key: str, changes: dict[str, int]):
    row = {"version": "v", "number": 1, "slot": 1, "n_parts": 1, "digest": "", "learned_until": 1} | changes
    value = msgspec.msgpack.encode(["v", b""]) if key.endswith("256") else msgspec.json.encode(row)
    with pytest.raises(ValueError, match=key):
        VersionRegistry().take(key.encode(), value)


@pytest.mark.parametrize("key", ["ranker/mlp", "ranker/mlp/pin", "ranker/mlp/1"])
def test_a_row_that_nests_deeper_than_a_decoders_stack_is_malformed(key: str):
    """It ended the thread that follows the tables."""
    with pytest.raises(ValueError, match=key):
        VersionRegistry().take(key.encode(), b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_rankers_beyond_the_bound_are_refused_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registry_module, "MAX_RANKERS", 2)
    registry = a_registry([*decided(1, name="a"), *decided(1, name="b")])
    with pytest.raises(ValueError, match=r"ranker/c.*more than 2 rankers"):
        registry.take(b"ranker/c", decided(1, name="c")[-1].value)
    assert sorted(now_serving(registry)) == ["a", "b"]


def test_parts_beyond_the_bound_are_refused_until_others_have_gone(monkeypatch: pytest.MonkeyPatch):
    parts = [row for row in decided(1) if row.key.count("/") == 3]
    monkeypatch.setattr(registry_module, "MAX_BYTES", sum(len(row.value or b"") for row in parts))
    registry = a_registry(parts)
    other = parts[0].key.replace("mlp", "another").encode()
    with pytest.raises(ValueError, match=r"ranker/another.*bytes of parts"):
        registry.take(other, parts[0].value)
    for row in parts:
        registry.take(row.key.encode(), None)
    registry.take(other, parts[0].value)
