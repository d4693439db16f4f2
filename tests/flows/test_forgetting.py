"""What an erased user, and one who does not consent, leave in `recommend`: nothing, whatever comes later."""

from pathlib import Path
from typing import Any

from bytewax.testing import TestingSource

from tests.experiments import experiments_from
from tests.flows.test_erasures import an_erasure
from tests.flows.test_recommend import NOW, Run, a_request, an_event

STOP: Any = TestingSource.EOF()
VARIANTS = [{"name": name, "weight": 1, "strategy": {}} for name in "ab"]


def test_what_is_older_than_an_erasure_and_arrives_after_it_makes_no_slate(tmp_path: Path):
    """Finding 10: lag, or a lost store, brought the person back."""
    erasures = [an_erasure(0, requested_at=NOW + 5_000)]
    run = Run([STOP, an_event(0), an_event(1)], [STOP, a_request(1)], store=tmp_path / "store", erasures=erasures)
    run.run()
    run.run()
    assert [outgoing.value for _, outgoing in run._written["recommendations"]] == [None]
    assert run.counts["before_erasure"] == 3


def test_who_comes_back_after_an_erasure_starts_over(tmp_path: Path):
    late = [an_event(0), an_event(1), an_event(9)]
    run = Run([STOP, *late], store=tmp_path / "store", erasures=[an_erasure(0, requested_at=NOW + 5_000)])
    run.run()
    run.run()
    made = [slate for slate in run._written["recommendations"] if slate[1].value is not None]
    assert len(made) == 1
    assert run.counts["before_erasure"] == 2


def test_a_request_without_consent_is_answered_from_its_own_context_and_leaves_nothing(tmp_path: Path):
    """Finding 10: `consent: false` on a request was ignored."""
    experiments = experiments_from([{"name": "e", "variants": VARIANTS}])
    run = Run(
        [an_event(0), an_event(1)],
        [STOP, *(a_request(5, user_id=user, consent=False, candidates=["i-3", "i-4"]) for user in ("u", "new"))],
        experiments,
        store=tmp_path / "store",
    )
    for _ in range(3):
        run.run()
    slates = {(slate["trigger_id"], slate["user_id"]): slate for slate in run["recommendations"]}
    for user in ("u", "new"):
        slate = slates["r-5", user]
        assert (slate["n_events"], slate["experiment"], slate["consent"]) == (0, None, False)
        assert slate["items"]
    assert [assignment["user_id"] for assignment in run["assignments"]] == ["u"]


def test_an_event_without_consent_is_answered_and_leaves_no_state():
    """Finding 10: it left a user's record."""
    run = Run([an_event(0, consent=False), an_event(1)]).run()
    assert [(slate["n_events"], slate["consent"]) for slate in run["recommendations"]] == [(0, False), (1, True)]
    assert run.counts["no_consent"] == 1
