import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.candidates.weights import weigh_sources
from models.names import SOURCES, SourceName
from models.numeric.arrays import Doubles
from models.offline.source_pools import PoolGatherer, SourcePools
from models.offline.source_weights import LEAST_POOLS, LENGTHS, _Loss, fit_sources
from models.strategy import SessionSources, Strategy
from tests.models.builders import AnItem, a_query, a_strategy, a_table

THREE: dict[SourceName, float] = {"covisitation": 1.0, "trending": 1.0, "session_knn": 1.0}
COVISITATION, TRENDING, SESSION_KNN = (SOURCES.index(name) for name in THREE)


def some_pools(n: int, knows: dict[int, int | None], size: int = 30, seed: int = 0) -> SourcePools:
    """Make pools of queries in sessions of as many acts as `knows` names, of whose answers one source knows the most.

    That source gives the answer the largest share four times in five; None: nobody knows more than chance. The others
    say anything of anything.
    """
    rng = np.random.default_rng(seed)
    shares = np.zeros((n, size, len(SOURCES)), np.float16)
    shares[:, :, [COVISITATION, TRENDING, SESSION_KNN]] = rng.random((n, size, 3)) * 0.9
    n_acts = rng.choice(list(knows), n)
    labels = rng.integers(size, size=n)
    for q in range(n):
        source = knows[int(n_acts[q])]
        if source is not None and rng.random() < 0.8:
            shares[q, labels[q], source] = 1.0
    starts = np.arange(n + 1) * size
    return SourcePools(shares.reshape(n * size, -1), starts, starts[:-1] + labels, n_acts)


def fitted_at(n_acts: int, by_session: tuple[SessionSources, ...]) -> Doubles:
    strategy = Strategy(sources=dict(THREE), sources_by_session=by_session)
    return weigh_sources(strategy, np.array([n_acts]))[0]


def test_the_one_source_that_knows_gets_the_weight():
    found = fit_sources(some_pools(1_000, {3: SESSION_KNN}), a_strategy(sources=THREE))
    assert found is not None
    assert fitted_at(3, found.by_session)[SESSION_KNN] > 0.7
    assert found.after[0] > found.before[0] + 0.1


def test_each_length_of_a_session_goes_by_the_source_that_knows_there():
    found = fit_sources(some_pools(2_000, {0: TRENDING, 1: COVISITATION, 9: SESSION_KNN}), a_strategy(sources=THREE))
    assert found is not None
    assert [fitted_at(n_acts, found.by_session).argmax() for n_acts in (0, 1, 9, 30)] == [
        TRENDING, COVISITATION, SESSION_KNN, SESSION_KNN,
    ]  # fmt: skip


def test_a_length_of_few_queries_goes_by_what_all_others_came_to():
    found = fit_sources(some_pools(1_000, {9: SESSION_KNN}), a_strategy(sources=THREE))
    assert found is not None
    assert [longer.from_acts for longer in found.by_session] == list(LENGTHS)
    assert fitted_at(0, found.by_session)[SESSION_KNN] > 0.7


def test_where_nobody_knows_more_the_weights_that_are_set_stay():
    assert fit_sources(some_pools(1_000, {3: None}), a_strategy(sources=THREE)) is None


def test_weights_that_what_came_last_refutes_are_not_taken():
    before, last = some_pools(700, {3: TRENDING}), some_pools(300, {3: SESSION_KNN}, seed=1)
    starts = np.concatenate([before.starts, before.starts[-1] + last.starts[1:]])
    turned = SourcePools(
        np.concatenate([before.shares, last.shares]),
        starts,
        np.concatenate([before.labels, before.starts[-1] + last.labels]),
        np.concatenate([before.n_acts, last.n_acts]),
    )
    assert fit_sources(turned, a_strategy(sources=THREE)) is None


def test_too_few_queries_and_a_single_source_fit_nothing():
    assert fit_sources(some_pools(LEAST_POOLS - 1, {3: SESSION_KNN}), a_strategy(sources=THREE)) is None
    assert fit_sources(some_pools(1_000, {3: SESSION_KNN}), a_strategy(sources={"trending": 1.0})) is None


def test_a_source_that_is_off_stays_off():
    found = fit_sources(some_pools(1_000, {3: SESSION_KNN}), a_strategy(sources={"trending": 1.0, "session_knn": 0.1}))
    assert found is not None
    assert found.by_session[0].sources.keys() == {"trending", "session_knn"}


@given(st.lists(st.floats(0, 5), min_size=len(SOURCES), max_size=len(SOURCES)), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_the_slope_is_that_of_the_loss(weights: list[float], seed: int):
    loss, at = _Loss(some_pools(20, {0: TRENDING, 3: None}, size=6, seed=seed)), np.array(weights)
    step = 1e-2
    for s in (COVISITATION, TRENDING, SESSION_KNN):
        aside = step * np.eye(len(SOURCES))[s]
        slope = (loss.of(at + aside)[0] - loss.of(at - aside)[0]) / (2 * step)
        assert loss.of(at)[1][s] == pytest.approx(slope, abs=0.02)


def test_the_loss_is_that_of_a_softmax_by_hand():
    shares = np.zeros((3, len(SOURCES)), np.float16)
    shares[:, TRENDING] = [1.0, 0.5, 0.0]
    pools = SourcePools(shares, np.array([0, 3]), np.array([1]), np.array([0]))
    value, _ = _Loss(pools).of(2.0 * np.eye(len(SOURCES))[TRENDING])
    assert value == pytest.approx(np.log(np.exp(2) + np.exp(1) + 1) - 1, abs=1e-5)


def test_a_rank_counts_ties_against_the_label_and_other_queries_not_at_all():
    shares = np.zeros((5, len(SOURCES)), np.float16)
    shares[:, TRENDING] = [0.5, 1.0, 0.5, 1.0, 0.25]
    pools = SourcePools(shares, np.array([0, 3, 5]), np.array([0, 3]), np.array([0, 4]))
    weights = np.ones((2, len(SOURCES)))
    assert pools.ranks(weights).tolist() == [3, 1]
    assert pools[1:].ranks(weights[1:]).tolist() == [1]
    assert pools[np.array([False, True])].n_acts.tolist() == [4]


def test_a_pool_holds_all_that_any_source_names_and_not_only_as_many_as_are_ranked():
    a = AnItem(
        "a", rules=dict(zip("bcde", (4, 3, 2, 1), strict=True)), covisits=dict(zip("bcde", (1, 2, 3, 4), strict=True))
    )
    table = a_table([a, *map(AnItem, "bcdef")])
    strategy = a_strategy(sources={"sequential_rules": 1.0, "covisitation": 0.001}, n_candidates=3)
    gatherer = PoolGatherer(strategy, 1.0)
    queries = [a_query(["a"], strategy=strategy) for _ in range(4)]
    gatherer.observe(queries, table, ["e", "b", "f", "unknown"])
    pools = gatherer.all()
    assert pools.n == gatherer.n == 2
    assert np.diff(pools.starts).tolist() == [4, 4]
    assert pools.ranks(weigh_sources(strategy, pools.n_acts)).tolist() == [4, 1]
    assert pools.n_acts.tolist() == [1, 1]


def test_nothing_gathered_is_no_pool():
    assert PoolGatherer(a_strategy(), 1.0).all().n == 0
