"""The funnel online: versions that are more probable, chances that follow the rates, and what came of what was said."""

from dataclasses import replace

import numpy as np
import pytest

from models.config import OnlineConfig
from models.names import FUNNEL, STAGES
from models.numeric.reliability import calibration_error, reliability
from models.online.learner import OnlineRanker
from models.online.published import CALIBRATED, Published, Reliability
from models.online.registry import VersionRegistry
from models.online.versions import rows_of
from models.rankers.checkpoint import CheckpointError
from models.rankers.inputs import SlateExample, collate
from models.rankers.served import FunnelRanker, served
from tests.models.online.test_registry import a_decision, a_registry
from tests.models.rankers.builders import some_funnel_slates as some_slates

CONFIG = OnlineConfig(learning_rate=1e-2, publish_every=2, guard_slates=128, alpha=0.5)


def published_of(found: list[Published | Reliability]) -> list[Published]:
    return [one for one in found if isinstance(one, Published)]


def in_service(ranker: OnlineRanker) -> FunnelRanker:
    assert ranker.service is not None
    serving = served(ranker.service.model)
    assert isinstance(serving, FunnelRanker)
    return serving


def carrying(slates: list[SlateExample], ranker: OnlineRanker) -> list[SlateExample]:
    """Let slates say what the version in service says."""
    labelled = collate(slates)
    assert labelled.positions is not None
    chances = in_service(ranker).chances(labelled.inputs.features, labelled.positions)
    return [
        slate._replace(chances=tuple(map(tuple, said.tolist()))) for slate, said in zip(slates, chances, strict=True)
    ]


@pytest.fixture(scope="module")
def learned() -> bytes:
    ranker = OnlineRanker(FUNNEL, CONFIG)
    ranker.learn(some_slates(2_560))
    return ranker.snapshot()


def a_learned(packed: bytes) -> OnlineRanker:
    return OnlineRanker.restore(packed, FUNNEL, CONFIG)


def test_a_version_goes_into_service_where_it_says_more_than_the_rates_do():
    published = published_of(OnlineRanker(FUNNEL, CONFIG).learn(some_slates(2_560)))
    assert published
    assert published[0].evidence["gain"] > published[0].evidence["replaced"]
    assert published[0].checkpoint is not None
    assert published[0].checkpoint.kind == FUNNEL


def test_nothing_goes_into_service_where_features_say_nothing():
    rng = np.random.default_rng(5)
    shuffled = [
        slate._replace(features=rng.random((8, len(slate.features) // 16)).astype(np.float16).tobytes())
        for slate in some_slates(1_280)
    ]
    flat = [slate._replace(stages=tuple(int(one) for one in rng.random(8) < 0.1)) for slate in shuffled]
    assert published_of(OnlineRanker(FUNNEL, replace(CONFIG, alpha=0.05)).learn(flat)) == []


def test_a_crash_at_any_moment_changes_nothing(learned: bytes):
    more = carrying(some_slates(320, seed=3), a_learned(learned))
    steady, killed = a_learned(learned), a_learned(learned)
    expected = steady.learn(more)
    found: list[Published | Reliability] = []
    for k in range(0, len(more), 37):
        found += killed.learn(more[k : k + 37])
        killed = a_learned(killed.snapshot())
    assert killed.snapshot() == steady.snapshot()
    rows = [row for one in found for row in rows_of(FUNNEL, one)]
    assert rows == [row for one in expected for row in rows_of(FUNNEL, one)]


def test_chances_follow_rates_that_move_though_no_version_proves_better(learned: bytes):
    ranker = OnlineRanker.restore(learned, FUNNEL, replace(CONFIG, min_judged=10**6))  # so nothing is ever proved
    before = ranker.service
    found = published_of(ranker.learn(some_slates(2_560, seed=4, more_clicks=0.25)))
    assert found
    assert all(CALIBRATED in one.evidence for one in found)
    rows = [row for one in found for row in rows_of(FUNNEL, one)]
    assert {one.decision for one in a_registry(rows).versions(FUNNEL)} == {CALIBRATED}
    assert before is not None
    assert ranker.service is not None
    unseen = some_slates(200, seed=5, more_clicks=0.25)
    came_true = np.mean([bits & 1 for slate in unseen for bits in slate.stages])
    said = np.mean([item[0] for slate in carrying(unseen, ranker) for item in slate.chances])
    assert abs(said - came_true) < 0.05
    weights = {name: value for name, value in before.model.state_dict().items() if name != "calibration"}
    assert all((ranker.service.model.state_dict()[name] == value).all() for name, value in weights.items())


def test_what_slates_said_is_told_beside_what_came_of_it(learned: bytes):
    ranker = a_learned(learned)
    slates = carrying(some_slates(640, seed=6), ranker)
    told = [one for one in ranker.learn(slates) if isinstance(one, Reliability)][-1]
    registry = VersionRegistry()
    for row in rows_of(FUNNEL, told):
        registry.take(row.key.encode(), row.value)
    chances = registry.chances(FUNNEL)
    assert chances is not None
    for index, stage in enumerate(STAGES):
        said = np.array([item[index] for slate in slates for item in slate.chances])
        came_true = np.array([bits >> index & 1 for slate in slates for bits in slate.stages]) > 0
        assert calibration_error(chances.table(stage)) == pytest.approx(
            calibration_error(reliability(said, came_true)), abs=0.002
        )
        assert calibration_error(chances.table(stage)) < 0.05


def test_slates_that_said_nothing_are_not_judged(learned: bytes):
    assert not [one for one in a_learned(learned).learn(some_slates(128, seed=7)) if isinstance(one, Reliability)]


def test_what_is_rehearsed_does_not_carry_what_slates_said(learned: bytes):
    ranker = a_learned(learned)
    ranker.learn(carrying(some_slates(64, seed=8), ranker))
    assert not any(slate.chances for slate in ranker.reservoir.kept)


def test_a_funnel_under_another_ranker_s_name_is_refused_and_the_other_way_round():
    for name, decision in ((FUNNEL, a_decision(1, "mlp")), ("mlp", a_decision(1, FUNNEL))):
        with pytest.raises(CheckpointError, match="holds the ranker"):
            list(a_registry(rows_of(name, decision)).changes())
    assert [name for name, _ in a_registry(rows_of(FUNNEL, a_decision(1, FUNNEL))).changes()] == [FUNNEL]


@pytest.mark.parametrize(
    "value",
    [b"{", b"[]", b'{"learned_until":-1,"stages":{}}', b'{"learned_until":1,"stages":{"click":[[1,-1,0]]}}',
     b'{"learned_until":1,"stages":{"click":[[1e99,1,1]]}}', b'{"learned_until":1,"stages":{"love":[]}}'],
)  # fmt: skip
def test_a_row_of_reliability_that_is_none_is_refused(value: bytes):
    with pytest.raises(ValueError, match="ranker/funnel/reliability"):
        VersionRegistry().take(b"ranker/funnel/reliability", value)


def test_nothing_is_served_of_stages_of_which_nothing_is_known():
    clicks = [slate._replace(decided=1) for slate in some_slates(1_280)]
    ranker = OnlineRanker(FUNNEL, CONFIG)
    assert published_of(ranker.learn(clicks)) == []
    assert published_of(ranker.learn(some_slates(640, seed=2)))


def test_another_calibration_takes_the_place_of_the_one_before_it(learned: bytes):
    """So that there is still a version with other weights to go back to."""
    ranker = OnlineRanker.restore(learned, FUNNEL, replace(CONFIG, min_judged=10**6))
    first = ranker.place
    found = published_of(ranker.learn(some_slates(2_560, seed=4, more_clicks=0.25)))
    assert {one.place for one in found} == {first}
    rows = [row for one in found for row in rows_of(FUNNEL, one)]
    registry = a_registry(rows)
    assert len(registry.versions(FUNNEL)) == 1
    assert [checkpoint.version for _, checkpoint in registry.changes() if checkpoint] == [
        found[-1].checkpoint.version  # type: ignore[union-attr]
    ]


def test_evidence_is_always_a_number(learned: bytes):
    """A recalibration at the end of a test had none, and its row was refused for ever."""
    ranker = OnlineRanker.restore(learned, FUNNEL, replace(CONFIG, min_judged=10**6, guard_slates=64))
    for one in published_of(ranker.learn(some_slates(1_280, seed=4, more_clicks=0.25))):
        assert all(np.isfinite(value) for value in one.evidence.values())
    assert a_learned(ranker.snapshot()).service is not None
