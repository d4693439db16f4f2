"""Placements in the flow: who gets which strategy where, which events trigger which, and experiments of some alone."""

from typing import Any

from dataflows.run.settings import Settings
from tests.experiments import experiments_from
from tests.flows.test_recommend import Run, a_request, an_event

SETTINGS = Settings(
    strategy={"n_items": 6, "exploration_slots": 0},
    placements={
        "cart": {"strategy": {"n_items": 2}, "triggers": ["cart"]},
        "mail": {"strategy": {"n_items": 3, "rules": [{"name": "launch", "kind": "pin", "item": "i-9"}]}},
    },
)
CANDIDATES = [f"i-{n}" for n in range(1, 30)]


def served(run: Run) -> dict[str, tuple[str, int]]:
    """Say of each trigger where its slate is to be shown, and how long it is."""
    return {slate["trigger_id"]: (slate["placement"], len(slate["items"])) for slate in run["recommendations"]}


def test_a_request_is_answered_by_the_strategy_of_its_placement():
    names = [None, "default", "cart", "mail"]
    run = Run(
        [], [a_request(n, placement=name, candidates=CANDIDATES) for n, name in enumerate(names)], settings=SETTINGS
    )
    assert served(run.run()) == {
        "r-0": ("default", 6), "r-1": ("default", 6), "r-2": ("cart", 2), "r-3": ("mail", 3),
    }  # fmt: skip
    first = run["recommendations"][3]["items"][0]
    assert (first["item_id"], first["rule"], first["propensity"]) == ("i-9", "launch", 1.0)


def test_the_length_that_a_request_asks_for_wins():
    run = Run([], [a_request(0, placement="cart", n_items=5, candidates=CANDIDATES)], settings=SETTINGS).run()
    assert served(run) == {"r-0": ("cart", 5)}


def test_an_event_makes_the_slate_of_the_placement_that_it_triggers():
    events = [an_event(0), an_event(1, event_type="cart"), an_event(2, event_type="cart", user_id="v", consent=False)]
    run = Run(events, settings=SETTINGS).run()
    assert {trigger: where for trigger, (where, _) in served(run).items()} == {
        "e-0": "default", "e-1": "cart", "e-2": "cart",
    }  # fmt: skip
    assert max(n for where, n in served(run).values() if where == "cart") <= 2


def test_a_request_for_a_placement_that_nobody_declared_is_a_dead_letter():
    run = Run([], [a_request(0, placement="crat"), a_request(1, placement="cart")], settings=SETTINGS).run()
    assert [letter["reason"] for letter in run["dead_letters"]] == ["unknown_placement"]
    assert served(run).keys() == {"r-1"}


def an_experiment(**changes: Any) -> dict[str, Any]:
    variants = [{"name": name, "weight": 1, "strategy": {"n_items": n}} for name, n in (("a", 4), ("b", 5))]
    return {"name": "e", "variants": variants} | changes


def test_an_experiment_makes_the_slates_of_its_placements_alone():
    requests = [
        a_request(n, placement=placement, user_id=f"u-{n % 7}", candidates=CANDIDATES)
        for n, placement in enumerate(["default", "cart", "mail"] * 14)
    ]
    run = Run([], requests, experiments_from([an_experiment(placements=["cart"])]), settings=SETTINGS).run()
    lengths = {"a": 4, "b": 5}
    assigned = {entry["user_id"]: entry["variant"] for entry in run["assignments"]}
    assert len(assigned) == 7 == len(run["assignments"])
    assert set(assigned.values()) == {"a", "b"}
    for slate in run["recommendations"]:
        if slate["placement"] == "cart":
            assert (slate["experiment"], slate["variant"]) == ("e", assigned[slate["user_id"]])
            assert len(slate["items"]) == lengths[slate["variant"]]
        else:
            assert (slate["experiment"], slate["variant"]) == (None, None)


def test_an_experiment_that_names_no_placement_is_of_the_default_alone_and_has_the_digest_that_it_had():
    [plain], [named] = (
        experiments_from([one]).declared for one in (an_experiment(), an_experiment(placements=["default"]))
    )
    [cart] = experiments_from([an_experiment(placements=["cart"])]).declared
    assert plain.placements == ("default",)
    assert plain.digest() == named.digest() != cart.digest()
