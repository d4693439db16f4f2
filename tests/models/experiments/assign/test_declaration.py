from dataclasses import replace
from typing import Any

import msgspec
import pytest

from models.experiments.assign.declaration import (
    Analysis,
    DeclarationError,
    Experiment,
    Namespace,
    TrafficBounds,
    Variant,
    check_together,
)
from models.names import SourceName
from models.strategy import SessionSources, Strategy, changed


def a_variant(name: str = "control", weight: float = 1.0, **strategy: Any) -> Variant:
    return Variant(name, weight, Strategy(**strategy))


def an_experiment(name: str = "e", variants: tuple[Variant, ...] = (), **fields: Any) -> Experiment:
    return Experiment(name, variants or (a_variant("control"), a_variant("treatment")), **fields)


def test_the_salt_is_the_name_unless_it_is_declared():
    assert an_experiment("prices").salt == "prices"
    assert an_experiment("prices", salt="2026").salt == "2026"


def test_one_variant_is_no_experiment():
    with pytest.raises(DeclarationError, match="two variants or more") as caught:
        an_experiment(variants=(a_variant(),))
    assert caught.value.path == ("variants",)


def test_two_variants_of_one_name_are_refused_at_the_second():
    with pytest.raises(DeclarationError, match="'b'") as caught:
        an_experiment(variants=(a_variant("a"), a_variant("b"), a_variant("b")))
    assert caught.value.path == ("variants", 2, "name")


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.5), (0.6, 0.5)])
def test_a_namespace_without_users_is_refused(start: float, end: float):
    with pytest.raises(DeclarationError, match="no user"):
        Namespace("page", start, end)


@pytest.mark.parametrize("field", ["name", "salt"])
def test_two_experiments_with_one_name_or_salt_are_refused(field: str):
    experiments = [an_experiment("a", salt="x"), an_experiment("b", salt="y")]
    experiments.append(replace(experiments[0], **{"name": "c", "salt": "z", field: getattr(experiments[0], field)}))
    with pytest.raises(DeclarationError, match=f"the {field}") as caught:
        check_together(experiments)
    assert caught.value.path == (2, field)


def test_a_salt_may_not_be_another_experiments_name_by_default():
    with pytest.raises(DeclarationError, match="the salt 'a'"):
        check_together([an_experiment("a"), an_experiment("b", salt="a")])


def test_overlapping_ranges_of_a_namespace_are_refused_with_both_names():
    with pytest.raises(DeclarationError, match="'low' and 'high'") as caught:
        check_together([
            an_experiment("low", namespace=Namespace("page", 0.0, 0.5)),
            an_experiment("high", namespace=Namespace("page", 0.4, 1.0)),
        ])  # fmt: skip
    assert caught.value.path == (1, "namespace")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Namespace("page", 0.0, 0.5), Namespace("page", 0.5, 1.0)),
        (Namespace("page", 0.0, 0.5), Namespace("mail", 0.0, 0.5)),
        (Namespace("page", 0.0, 0.5), None),
    ],
)
def test_ranges_that_touch_or_lie_in_other_namespaces_go_together(first: Namespace, second: Namespace | None):
    check_together([an_experiment("a", namespace=first), an_experiment("b", namespace=second)])


@pytest.mark.parametrize(
    "changed",
    [
        an_experiment("f", salt="e"),
        an_experiment(salt="s"),
        an_experiment(coverage=0.5),
        an_experiment(kind="interleaving"),
        an_experiment(namespace=Namespace("page", 0.0, 1.0)),
        an_experiment(variants=(a_variant("control"), a_variant("treatment", 2.0))),
        an_experiment(variants=(a_variant("treatment"), a_variant("control"))),
        an_experiment(variants=(a_variant("control"), a_variant("treatment", diversity=0.3))),
        an_experiment(variants=(a_variant("control"), a_variant("treatment", sources={"content": 1}))),
        an_experiment(
            variants=(
                a_variant("control"),
                a_variant("treatment", sources_by_session=(SessionSources(1, {"content": 1}),)),
            )
        ),
    ],
)
def test_the_digest_changes_with_any_part_of_the_declaration(changed: Experiment):
    assert changed.digest() != an_experiment().digest()


def test_the_digest_is_that_of_the_meaning_not_of_the_spelling():
    terse = {
        "name": "e",
        "variants": [{"name": n, "weight": 1, "strategy": {}} for n in ("control", "treatment")],
    }
    wordy = {**terse, "salt": "e", "coverage": 1, "namespace": None}
    digests = {msgspec.convert(spelling, Experiment).digest() for spelling in (terse, wordy)}
    ints = an_experiment(variants=(a_variant("control", 1), a_variant("treatment", 1)), coverage=1)
    sources = dict(reversed(Strategy().sources.items()))
    other_order = an_experiment(variants=(a_variant("control"), a_variant("treatment", sources=sources)))
    assert digests == {an_experiment().digest(), ints.digest(), other_order.digest()}


def test_an_upgrade_keeps_the_digest_of_an_experiment_that_runs():
    """Of the release whose stores are in tests/golden: by another one all users would be assigned anew."""
    variants = (
        a_variant("control", ranker="blend"),
        a_variant("treatment", ranker="blend", diversity=0.4),
    )
    assert Experiment("page", variants, analysis=Analysis(goal="ctr")).digest() == "e6c9b6390f426f31"


def test_a_value_out_of_bounds_has_no_digest():
    with pytest.raises(msgspec.ValidationError, match="weight"):
        an_experiment(variants=(a_variant("control"), a_variant("treatment", 0.0))).digest()


@pytest.mark.parametrize("sources", [{}, {"trending": 0.0, "content": 0.0}])
def test_a_strategy_needs_a_source(sources: dict[SourceName, float]):
    with pytest.raises(ValueError, match="no source"):
        Strategy(sources=sources)


def test_longer_sessions_come_in_rising_order_and_each_needs_a_source():
    known = SessionSources(2, {"trending": 1.0})
    with pytest.raises(ValueError, match="rising order"):
        Strategy(sources_by_session=(known, known))
    with pytest.raises(ValueError, match="no source"):
        Strategy(sources_by_session=(known, SessionSources(3, {"content": 0.0})))


def test_who_says_what_sources_weigh_means_sessions_of_any_length():
    strategy = Strategy(sources_by_session=(SessionSources(2, {"trending": 1.0}),))
    assert msgspec.convert(changed(strategy, {"diversity": 0.5}), Strategy).sources_by_session
    own = msgspec.convert(changed(strategy, {"sources": {"content": 1.0}}), Strategy)
    assert (own.sources, own.sources_by_session) == ({"content": 1.0}, ())


def test_the_analysis_is_no_part_of_the_digest():
    assert an_experiment(analysis=Analysis(goal="value", stop=True)).digest() == an_experiment().digest()


def test_interleaving_takes_two_variants():
    with pytest.raises(DeclarationError, match="declare two") as caught:
        an_experiment(kind="interleaving", variants=tuple(a_variant(name) for name in "abc"))
    assert caught.value.path == ("variants",)


@pytest.mark.parametrize(("low", "high"), [(0.6, 0.9), (0.0, 0.4)])
def test_bounds_that_no_traffic_can_keep_are_refused(low: float, high: float):
    with pytest.raises(DeclarationError, match="1/2") as caught:
        an_experiment(analysis=Analysis(bandit=TrafficBounds(low, high)))
    assert caught.value.path == ("analysis", "bandit")


@pytest.mark.parametrize(
    ("guardrails", "text"),
    [
        ({"retention": 0.01}, "below 0"),
        ({"latency_ms": -0.05}, "above 0"),
        ({"latency_ms": 0.0}, "above 0"),
        ({"retention": float("nan")}, "below 0"),
        ({"ctr": -0.01}, "is the goal"),
    ],
)
def test_a_guardrail_that_says_nothing_is_refused_with_its_remedy(guardrails: dict[Any, float], text: str):
    with pytest.raises(DeclarationError, match=text) as caught:
        Analysis(guardrails=guardrails)
    assert caught.value.path[0] == "guardrails"


def test_interleaving_takes_slates_of_one_length():
    short, long = a_variant("a"), a_variant("b")
    short = replace(short, strategy=replace(short.strategy, n_items=5))
    with pytest.raises(DeclarationError, match=r"slates of 5 and 10 items: give both as many"):
        an_experiment(kind="interleaving", variants=(short, long))


def test_interleaving_takes_no_guardrails():
    with pytest.raises(DeclarationError, match="take the guardrails away") as caught:
        an_experiment(kind="interleaving", analysis=Analysis(guardrails={"retention": -0.01}))
    assert caught.value.path == ("analysis", "guardrails")


def test_users_are_judged_at_one_age_where_traffic_may_move_and_as_outcomes_come_elsewhere():
    assert Analysis().age_ms == 0
    assert Analysis(stop=True).age_ms == Analysis(bandit=TrafficBounds()).age_ms == 86_400_000
    assert Analysis(stop=True, age_s=0).age_ms == 0
