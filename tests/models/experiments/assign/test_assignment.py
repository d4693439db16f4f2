"""The published vectors are GrowthBook's `cases.json` (growthbook/growthbook-python, tests/cases.json)."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.experiments.assign.assignment import (
    Experiments,
    Range,
    bucket_of,
    bucket_ranges,
    choose,
    fnv1a_32,
    in_namespace,
)
from models.experiments.assign.declaration import Experiment, Namespace, Variant
from models.strategy import Strategy

HASH_CASES = [
    ("seed", "a", 0.0505),
    ("seed", "b", 0.2696),
    ("foo", "ab", 0.2575),
    ("foo", "def", 0.2019),
    ("89123klj", "8952klfjas09ujkasdf", 0.124),
    ("90850943850283058242805", "123", 0.7516),
    ("()**(%$##$%#$#", '___)((*":&', 0.0128),
]
"""`hash`, version 2: seed, value, bucket."""
BEYOND_THE_BASIC_PLANE = [
    ("seed", "\U0001f600", 1306981241, 0.4346),
    ("seed", "u-\U0001d518", 758771319, 0.5507),
    ("\U0001f600", "a", 3092832667, 0.3227),
    ("salt", "\U0001f469\u200d\U0001f469\u200d\U0001f467", 2449813867, 0.3011),
    ("seed", "\u65e5\u672c", 2606176069, 0.9652),
]
"""Seed, value, hash of both, bucket: of GrowthBook's `hashFnv32a` and `hash` in JavaScript, as Node.js 20 runs them."""

BUCKET_RANGE_CASES = [
    ("normal 50/50", [1, 1], 1, [(0, 0.5), (0.5, 1)]),
    ("reduced coverage", [1, 1], 0.5, [(0, 0.25), (0.5, 0.75)]),
    ("zero coverage", [1, 1], 0, [(0, 0), (0.5, 0.5)]),
    ("4 variations", [1, 1, 1, 1], 1, [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]),
    ("uneven weights", [0.4, 0.6], 1, [(0, 0.4), (0.4, 1)]),
    ("uneven weights, 3 variations", [0.2, 0.3, 0.5], 1, [(0, 0.2), (0.2, 0.5), (0.5, 1)]),
    (
        "uneven weights, reduced coverage, 3 variations",
        [0.2, 0.3, 0.5],
        0.2,
        [(0, 0.04), (0.2, 0.26), (0.5, 0.6)],
    ),
]
"""`getBucketRange`, without the cases of weights and coverages that Eddy refuses or normalises."""

EVEN, REDUCED = [(0, 0.5), (0.5, 1)], [(0, 0.25), (0.5, 0.75)]
CHOOSE_CASES = [
    (0.2, EVEN, 0),
    (0.4, EVEN, 0),
    (0.6, EVEN, 1),
    (0.8, EVEN, 1),
    (0, EVEN, 0),
    (0.5, EVEN, 1),
    (0.2, REDUCED, 0),
    (0.4, REDUCED, None),
    (0.6, REDUCED, 1),
    (0.8, REDUCED, None),
    (0.25, REDUCED, None),
    (0.5, REDUCED, 1),
    (0.5, [(0, 0.5), (0.5, 0.5), (0.5, 1)], 2),
]
"""`chooseVariation`; its -1 is None here."""

NAMESPACE_CASES = [
    ("1", "namespace1", False),
    ("1", "namespace2", False),
    ("2", "namespace1", False),
    ("2", "namespace2", False),
    ("3", "namespace1", False),
    ("3", "namespace2", True),
    ("4", "namespace1", False),
    ("4", "namespace2", True),
]
"""`inNamespace`: user, namespace, whether in [0, 0.4); published for [0.4, 1) too, as the opposite."""

USERS = [f"user-{n}" for n in range(20_000)]

buckets = st.integers(0, 9_999).map(lambda n: n / 10_000)
weights = st.lists(st.floats(0.001, 1_000), min_size=2, max_size=6)
coverages = st.floats(0, 1)


def an_experiment(
    name: str = "e",
    *,
    shares: tuple[float, ...] = (1.0, 1.0),
    coverage: float = 1.0,
    namespace: Namespace | None = None,
    salt: str = "",
) -> Experiment:
    variants = tuple(Variant(f"v{n}", share, Strategy(max_per_category=n + 1)) for n, share in enumerate(shares))
    return Experiment(name, variants, salt=salt, coverage=coverage, namespace=namespace)


@pytest.mark.parametrize(("salt", "user_id", "bucket"), HASH_CASES)
def test_buckets_are_those_that_growthbook_publishes(salt: str, user_id: str, bucket: float):
    assert bucket_of(user_id, salt) == bucket


@pytest.mark.parametrize(("salt", "user_id", "digest", "bucket"), BEYOND_THE_BASIC_PLANE)
def test_ids_beyond_the_basic_plane_fall_as_in_growthbooks_javascript(
    salt: str, user_id: str, digest: int, bucket: float
):
    assert fnv1a_32(salt + user_id) == digest
    assert bucket_of(user_id, salt) == bucket


def test_a_namespace_counts_code_units_too():
    assert in_namespace("\U0001f600", Namespace("page", 0.501, 0.502))
    assert in_namespace("u-\U0001d518", Namespace("page", 0.443, 0.444))


@pytest.mark.parametrize(("text", "digest"), [("", 0x811C9DC5), ("a", 0xE40C292C), ("foobar", 0xBF9CF968)])
def test_the_hash_is_fnv_1a_of_its_authors_test_suite(text: str, digest: int):
    assert fnv1a_32(text) == digest


@pytest.mark.parametrize(
    ("weights", "coverage", "ranges"),
    [case[1:] for case in BUCKET_RANGE_CASES],
    ids=[case[0] for case in BUCKET_RANGE_CASES],
)
def test_bucket_ranges_are_those_that_growthbook_publishes(weights: list[float], coverage: float, ranges: list[Range]):
    assert bucket_ranges(weights, coverage) == [pytest.approx(bounds) for bounds in ranges]


@pytest.mark.parametrize(("bucket", "ranges", "place"), CHOOSE_CASES)
def test_variants_are_chosen_as_growthbook_publishes(bucket: float, ranges: list[Range], place: int | None):
    assert choose(bucket, ranges) == place


@pytest.mark.parametrize(("user_id", "name", "in_first"), NAMESPACE_CASES)
def test_namespaces_hold_the_users_that_growthbook_publishes(user_id: str, name: str, in_first: bool):
    assert in_namespace(user_id, Namespace(name, 0.0, 0.4)) is in_first
    assert in_namespace(user_id, Namespace(name, 0.4, 1.0)) is not in_first


def test_a_cut_anywhere_in_a_namespace_puts_a_user_on_one_side_only():
    for cut in (n / 1_000 for n in range(1, 1_000)):
        below, above = Namespace("page", 0.0, cut), Namespace("page", cut, 1.0)
        assert in_namespace("u-1", below) is not in_namespace("u-1", above)


@given(weights, coverages, coverages, buckets)
def test_growing_the_coverage_never_moves_a_user_to_another_variant(
    weights: list[float], one: float, other: float, bucket: float
):
    small, large = sorted((one, other))
    before, after = (choose(bucket, bucket_ranges(weights, coverage)) for coverage in (small, large))
    assert before in (None, after)


@given(weights, buckets)
def test_full_coverage_leaves_nobody_out(weights: list[float], bucket: float):
    assert choose(bucket, bucket_ranges(weights, 1.0)) is not None


@given(weights, coverages)
def test_ranges_never_overlap(weights: list[float], coverage: float):
    assert all(end <= start for (_, end), (start, _) in pairwise(bucket_ranges(weights, coverage)))


@given(st.text(min_size=1, max_size=40), st.text(max_size=40))
def test_any_id_has_a_bucket_from_0_to_below_1(user_id: str, salt: str):
    assert 0 <= bucket_of(user_id, salt) < 1


def test_variants_get_users_in_proportion_to_their_weights():
    experiments = Experiments([an_experiment(shares=(3.0, 1.0))])
    counts = Counter(experiments.assign(user).variant for user in USERS)
    # 20,000 users, one in four: 5,000 with a standard deviation of 61.
    assert counts["v1"] == pytest.approx(5_000, abs=4 * 61)


def test_coverage_is_the_share_of_users_that_take_part():
    experiments = Experiments([an_experiment(coverage=0.2)])
    n_covered = sum(experiments.assign(user) is not None for user in USERS)
    assert n_covered == pytest.approx(4_000, abs=4 * 57)


def test_salts_shuffle_users_independently():
    one, other = (Experiments([an_experiment(salt=salt)]) for salt in ("spring", "autumn"))
    n_both = sum(one.assign(user).variant == other.assign(user).variant == "v0" for user in USERS)
    assert n_both == pytest.approx(5_000, abs=4 * 61)


def test_an_assignment_carries_what_its_variant_declares():
    experiment = an_experiment("foo", shares=(0.2, 0.8))
    # The published bucket of "def" under the seed "foo", 0.2019, lies just inside the second variant's range.
    assigned = Experiments([experiment]).assign("def")
    assert (assigned.experiment, assigned.variant, assigned.bucket) == ("foo", "v1", 0.2019)
    assert assigned.strategy == experiment.variants[1].strategy
    assert assigned.digest == experiment.digest()


def test_an_interleaved_experiment_gives_everybody_in_its_coverage_both_strategies():
    experiment = replace(an_experiment("foo", shares=(0.2, 0.8), coverage=0.5), kind="interleaving")
    found = [Experiments([experiment]).assign(user) for user in USERS[:500]]
    taken = [assigned for assigned in found if assigned is not None]
    assert 200 < len(taken) < 300
    first, second = experiment.variants
    for assigned in taken:
        assert assigned.variant == "interleaved"
        assert (assigned.strategy, assigned.rival) == (first.strategy, second.strategy)


def test_the_first_declared_experiment_that_takes_a_user_decides():
    experiments = Experiments([an_experiment("first", coverage=0.5), an_experiment("second")])
    alone = Experiments([an_experiment("first", coverage=0.5)])
    for user in USERS[:500]:
        expected = "first" if alone.assign(user) else "second"
        assert experiments.assign(user).experiment == expected


def test_disjoint_ranges_of_a_namespace_share_no_user_and_leave_the_rest_alone():
    halves = [
        an_experiment("low", namespace=Namespace("page", 0.0, 0.3)),
        an_experiment("high", namespace=Namespace("page", 0.3, 0.6)),
    ]
    together = Experiments(halves)
    one, other = Experiments(halves[:1]), Experiments(halves[1:])
    for user in USERS[:500]:
        by_low, by_high = one.assign(user), other.assign(user)
        assert by_low is None or by_high is None
        assert together.assign(user) == (by_low or by_high)
    assert any(together.assign(user) is None for user in USERS[:500])


def test_without_experiments_nobody_is_assigned():
    assert Experiments().assign("u-1") is None
