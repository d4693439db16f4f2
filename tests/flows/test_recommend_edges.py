from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bytewax.errors import BytewaxRuntimeError
from bytewax.testing import TestingSource

from dataflows.records import Record
from dataflows.run.settings import Settings
from dataflows.steps.profile import ProfileLogic, profile_step
from models.experiments.assign.assignment import NOTHING, Experiments
from models.items import ItemTable
from models.numeric.ids import hash64
from models.serving.recommender import Recommender
from models.user.profile import Profile
from tests import places
from tests.experiments import experiments_from
from tests.flows.test_recommend import NOW, Run, an_event

USERS = [f"u-{n}" for n in range(8)]


def of_two_lengths(name: str = "length") -> Experiments:
    variants = [{"name": f"{n}", "weight": 1, "strategy": {"n_items": n}} for n in (2, 5)]
    return experiments_from([{"name": name, "variants": variants}])


def garbage(number: int) -> Record:
    return Record(0, number, NOW, b"u", b"{")


def test_each_user_of_a_mixed_batch_gets_the_slate_of_the_own_variant():
    run = Run([an_event(n, user_id=user) for n, user in enumerate(USERS)], experiments=of_two_lengths()).run()
    slates = run["recommendations"]
    assert len(slates) == len(USERS)
    assert {slate["variant"] for slate in slates} == {"2", "5"}
    assert all(len(slate["items"]) == int(slate["variant"]) for slate in slates)


def test_bad_bytes_are_one_letter_each_and_stop_nothing():
    run = Run([garbage(0), an_event(1), garbage(2)]).run()
    assert [(letter["reason"], letter["offset"]) for letter in run["dead_letters"]] == [
        ("truncated", 0),
        ("truncated", 2),
    ]
    assert [slate["trigger_id"] for slate in run["recommendations"]] == ["e-1"]


def test_an_assignment_is_written_again_only_after_the_declaration_changes(tmp_path: Path):
    store = tmp_path / "store"
    events: list[Any] = [an_event(0), an_event(1), TestingSource.EOF(), an_event(2), an_event(3)]
    first = Run(events, experiments=of_two_lengths(), store=store).run()
    second = Run(events, experiments=of_two_lengths("renamed"))
    second._recovery = first._recovery
    second.run()
    assert [entry["experiment"] for entry in first["assignments"]] == ["length"]
    assert [entry["experiment"] for entry in second["assignments"]] == ["renamed"]


def test_an_assignment_is_not_written_again_after_a_resume(tmp_path: Path):
    events: list[Any] = [an_event(0), TestingSource.EOF(), an_event(1)]
    run = Run(events, experiments=of_two_lengths(), store=tmp_path / "store").run().run()
    assert len(run["recommendations"]) == 2
    assert len(run["assignments"]) == 1


@pytest.mark.parametrize(("owner", "name"), [(Profile, "apply"), (Recommender, "recommend")])
@pytest.mark.parametrize("calls", [1, 3])
def test_a_crash_in_a_step_neither_loses_nor_repeats_an_event(
    owner: type[Any], name: str, calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = Run([an_event(n) for n in range(45)], store=tmp_path / "store")
    original, left = getattr(owner, name), [calls]

    def crash_once(*arguments: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise RuntimeError("crash")
        return original(*arguments)

    monkeypatch.setattr(owner, name, crash_once)
    with pytest.raises((RuntimeError, BytewaxRuntimeError)):
        run.run()
    run.run()
    written = {(slate["trigger_id"], slate["n_events"]) for slate in run["recommendations"]}
    assert written == {(f"e-{n}", n + 1) for n in range(45)}


def test_a_users_packed_state_is_the_profile_the_assignment_the_requests_and_the_run():
    packed = ((places.GOLDEN / "profile_v2.bin").read_bytes(), ("digest", "treatment"), (hash64("r-1"), 7), 5, 0)
    step = profile_step(Settings(), Experiments(), ItemTable(NOW), lambda: datetime.now(UTC), Counter())
    assert ProfileLogic(packed, step).snapshot() == packed
    assert ProfileLogic(packed[:4], step).snapshot() == packed, "a release that knew no erasures packed four"
    assert ProfileLogic(None, step).snapshot()[1:] == (NOTHING, (), -1, 0)
