"""Feedback trains a ranker: the lowest line of the learn flow, in memory."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import orjson
import pytest
import torch
from bytewax.testing import TestingSource

from dataflows.steps.attribute import AttributeLogic
from models.numeric.ids import hash64
from models.online.attribution import UserAttribution
from models.online.learner import OnlineRanker
from models.online.registry import VersionRegistry
from models.rankers.checkpoint import SHIPPED, load_checkpoint
from models.rankers.inputs import Inputs
from models.rankers.served import NetworkRanker
from tests.flows.crashes import CrashOnce
from tests.flows.erasing import an_erasure, states_of
from tests.flows.feedback import CLOCK, LIKED, a_run, a_slate, a_stream, features_of, feedback_on, settings_for
from tests.flows.learning import NOW, SECOND, Run, garbage

LATER = NOW + 10_000 * SECOND


def the_registry(run: Run) -> VersionRegistry:
    registry = VersionRegistry()
    for key, value in run.rows.items():
        if key.startswith("ranker/"):
            registry.take(key.encode(), value)
    return registry


def ranker_rows(run: Run) -> dict[str, bytes | None]:
    return {key: value for key, value in run.rows.items() if key.startswith("ranker/")}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Batches are small: a second thread costs more than it brings, as in the flow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def steady(one_thread: None) -> Run:  # noqa: ARG001
    """A run that nothing interrupts."""
    return a_run().run()


def test_feedback_makes_a_ranker_that_puts_first_what_users_like(steady: Run):
    [(name, checkpoint)] = the_registry(steady).changes()
    assert name == "mlp"
    assert checkpoint is not None
    slates = [orjson.loads(a_slate(number).value or b"") for number in range(9_000, 9_100)]
    features = np.array([features_of(slate) for slate in slates], np.float32)  # (100, 6, F)
    scores = NetworkRanker(checkpoint.model).score(Inputs.of_features(features))
    # By chance the most liked of six stands first in a sixth of the slates.
    assert (scores.argmax(axis=1) == features[:, :, LIKED].argmax(axis=1)).mean() > 0.5
    assert steady.counts["ranker_versions"] > 1


def test_every_slate_is_learned_once_however_the_topics_are_cut():
    run = a_run(400, batch_size=7, n_users=4).run()
    # The newest slates of the four users have not closed.
    assert 380 <= run.counts["attributed_slates"] <= 400
    assert run.counts["learned_slates"] == run.counts["attributed_slates"] // 8 * 8


def test_without_a_ranker_to_learn_nothing_of_slates_is_read():
    run = a_run(20, settings_for("none")).run()
    assert ranker_rows(run) == {}
    assert not [name for name in run.counts if "slates" in name]


def test_bad_slates_are_dead_letters_and_the_rest_is_learned():
    slates, events = a_stream(100, n_users=4)
    few = orjson.loads(slates[0].value or b"")
    few["features"] = few["features"][4:]
    bad = [garbage(7), slates[1]._replace(value=orjson.dumps(few))]
    run = Run(events, [], settings_for(), CLOCK, slates=[*bad, *slates]).run()
    letters = [msgspec.json.decode(letter.value or b"") for _, letter in run.letters]
    assert [(letter["topic"], letter["reason"]) for letter in letters] == [
        ("recommendations", "truncated"),
        ("recommendations", "wrong_features"),
    ]
    assert run.counts["learned_slates"] > 80


def test_slates_with_features_of_another_release_are_counted_and_not_learned():
    slates = [a_slate(k, feature_set="v0") for k in range(50)]
    events = [event for k, slate in enumerate(slates) for event in feedback_on(slate, k)]
    run = Run(events, [], settings_for(), CLOCK, slates=slates).run()
    assert run.counts["without_features"] == run.counts["attributed_slates"] > 40
    assert run.counts["learned_slates"] == 0


def test_each_arm_may_have_a_ranker_of_its_own():
    run = a_run(1_200, settings_for(per_arm=True), variants=["left", "right"]).run()
    assert the_registry(run).names == ["mlp.left", "mlp.right"]


def test_a_ranker_starts_from_the_checkpoint_that_it_is_given():
    run = a_run(40, n_users=4)
    start = load_checkpoint(SHIPPED)
    run.start = start
    run.run()
    assert run.counts["learned_slates"] == 32
    assert not ranker_rows(run) or the_registry(run).versions("mlp")[0].digest != start.digest


STEPS = {
    "attribute": (UserAttribution, "show"),
    "closing": (UserAttribution, "close"),
    "learn": (OnlineRanker, "learn"),
    "train": (OnlineRanker, "_train"),
    "publish": (OnlineRanker, "_decide"),
    "snapshot": (OnlineRanker, "snapshot"),
    "user_snapshot": (AttributeLogic, "snapshot"),
}


@pytest.mark.parametrize(("step", "calls"), [(step, 1 + 9 * (index % 2)) for index, step in enumerate(STEPS)])
def test_after_a_crash_in_any_step_versions_go_on_and_no_example_trains_twice(
    step: str, calls: int, steady: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = a_run(store=tmp_path / "store")
    CrashOnce(monkeypatch, *STEPS[step], calls).run_twice(run)
    # The weights are the same to the bit: what had been learned was not learned again, and nothing was left out.
    assert ranker_rows(run) == ranker_rows(steady)


def test_a_stop_and_a_resume_go_on_where_they_were(steady: Run, tmp_path: Path):
    run = a_run(store=tmp_path / "store")
    run.slates[150:150] = [TestingSource.EOF()]
    run.events[300:300] = [TestingSource.EOF()]
    run.run().run()
    for name in ("attributed_slates", "learned_slates"):
        assert run.counts[name] == steady.counts[name]
    numbers = [version.number for version in the_registry(run).versions("mlp")]
    assert len(set(numbers)) == len(numbers) > 1
    assert run.counts["ranker_versions"] + run.counts["ranker_rollbacks"] == numbers[0]


def test_an_erased_user_has_no_outcome():
    slates, events = a_stream(3, n_users=1)
    gone = [an_erasure("u-0", LATER)]
    run = Run(events, [], settings_for(), CLOCK, slates=slates, batch_size=1_000, erasures=gone).run()
    assert run.counts["attributed_slates"] == 0


def test_the_examples_of_an_erased_user_go_and_the_ranker_learns_anew_from_the_rest(steady: Run, tmp_path: Path):
    """Finding 11: they stayed in the reservoir, and in what is rehearsed."""
    slates, events = a_stream(280)
    gone = [TestingSource.EOF(), an_erasure("u-0", LATER)]
    run = Run(
        [*events, TestingSource.EOF()], [], settings_for(), CLOCK, tmp_path / "store", slates=slates, erasures=gone
    )
    run.run().run()
    assert run.counts["erased_examples"] > 0
    assert not any(hash64("u-0").to_bytes(8, "big") in state for state in states_of(tmp_path / "store", "learn_ranker"))
    assert any(hash64("u-1").to_bytes(8, "big") in state for state in states_of(tmp_path / "store", "learn_ranker"))
    assert the_registry(steady).versions("mlp")
