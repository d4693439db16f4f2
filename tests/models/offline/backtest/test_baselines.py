"""The baselines that score all items, against slow literal readings of their formulae."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from models.numeric.ids import hash_all
from models.offline.backtest.baselines.ease import Ease
from models.offline.backtest.baselines.matrix_factorisation import MatrixFactorisation
from models.offline.backtest.baselines.own_items import OwnItems
from models.offline.backtest.training_set import ActSequence, TrainingSet
from tests.models.builders import AnItem, a_query, a_strategy, a_table

PLAIN = a_strategy(n_items=3, allow_seen=True, allow_owned=True, allow_current=True)
HISTORIES = ["abc", "abd", "acd", "bc", "aab", "d", "bce"]


def a_training_set(histories: Sequence[str] = HISTORIES) -> TrainingSet:
    return TrainingSet(
        tuple(ActSequence(f"u-{n}", tuple(items), tuple(range(len(items)))) for n, items in enumerate(histories))
    )


def silent(*_: Any) -> None:
    """Show no progress."""


def test_interactions_count_a_user_once_and_list_the_items_of_most_users_first():
    matrix, items = a_training_set().interactions()
    # b is of 5 users; a and c, of 4 each, stand by their hashes
    assert items.tolist()[:3] == hash_all(["b"]).tolist() + sorted(hash_all(["a", "c"]).tolist())
    assert matrix.toarray().sum(axis=0).tolist() == [5, 4, 4, 3, 1]
    assert matrix.toarray()[4].sum() == 2
    few, most = a_training_set().interactions(2)
    assert (few.shape, most.tolist()) == ((7, 2), items.tolist()[:2])


def test_ease_weighs_items_as_ridge_regressions_on_all_others_would():
    train, l2 = a_training_set(), 2.0
    matrix = train.interactions().matrix.toarray().astype(np.float64)
    n = matrix.shape[1]
    expected = np.zeros((n, n))
    for j in range(n):
        others = np.delete(np.arange(n), j)
        x = matrix[:, others]
        expected[others, j] = np.linalg.solve(x.T @ x + l2 * np.eye(n - 1), x.T @ matrix[:, j])
    ease = Ease("ease", PLAIN, train, silent, l2=l2)
    assert ease.score_items(scipy.sparse.eye(n, format="csr")) == pytest.approx(expected, abs=1e-5)


def test_ease_ranks_none_but_the_items_that_it_learned():
    ease = Ease("ease", PLAIN, a_training_set(), silent, l2=1.0, max_items=3)
    predictions = ease.predict([a_query(["a"])] * 2, a_table([*map(AnItem, "abcde")]), ["b", "d"])
    assert predictions.is_candidate.tolist() == [True, False]
    assert predictions.ranks[1] == 0


def literal_als(matrix: Any, n_factors: int, l2: float, alpha: float, n_rounds: int) -> Any:
    """Read the two formulae of Hu et al. with the confidences as whole diagonal matrices."""
    items = np.random.default_rng(0).normal(0, 1 / n_factors, (matrix.shape[1], n_factors))

    def solved(preferences: Any, others: Any) -> Any:
        rows = []
        for p in preferences:
            confidence = np.diag(1 + alpha * p)
            left = others.T @ confidence @ others + l2 * np.eye(n_factors)
            rows.append(np.linalg.inv(left) @ others.T @ confidence @ p)
        return np.array(rows)

    for _ in range(n_rounds):
        items = solved(matrix.T, solved(matrix, items))
    return solved(matrix, items) @ items.T


def test_matrix_factorisation_solves_what_the_paper_says():
    train = a_training_set()
    matrix = train.interactions().matrix
    model = MatrixFactorisation("mf", PLAIN, train, silent, n_factors=3, l2=0.5, alpha=4.0, n_rounds=4)
    expected = literal_als(matrix.toarray().astype(np.float64), 3, 0.5, 4.0, 4)
    assert model.score_items(matrix) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("kind", [Ease, MatrixFactorisation])
def test_what_goes_together_is_recommended_to_whoever_has_one_of_it(kind: type[Ease | MatrixFactorisation]):
    train = a_training_set(["ab"] * 5 + ["cd"] * 5 + ["ef"] * 5)
    strategy = a_strategy(n_items=1, allow_seen=False)
    model = kind("model", strategy, train, silent)
    table = a_table([*map(AnItem, "fedcbax")])
    predictions = model.predict([a_query(["a"]), a_query(["c"]), a_query(["x", "f"])], table, ["b", "d", "e"])
    assert predictions.ranks.tolist() == [1, 1, 1]
    assert [table.ids[row] for row in predictions.rows[:, 0]] == ["b", "d", "e"]


@pytest.mark.parametrize("kind", [Ease, MatrixFactorisation])
def test_without_a_history_all_items_tie_which_counts_against_the_right_one(kind: type[Ease | MatrixFactorisation]):
    model = kind("model", PLAIN, a_training_set(["ab", "ac", "ad"]), silent)
    predictions = model.predict([a_query()] * 3, a_table([*map(AnItem, "abcd")]), ["b", "c", "d"])
    assert predictions.ranks.tolist() == [4, 4, 4]


def test_own_items_stand_newest_first_each_once_without_what_was_disliked():
    queries = [a_query(["b", "a", "b", "c", "d"], weights=[1.0, 1.0, 1.0, -1.0, 1.0])] * 3
    table = a_table([*map(AnItem, "abcde")])
    predictions = OwnItems("own_items", PLAIN).predict(queries, table, ["d", "c", "e"])
    assert [table.ids[row] for row in predictions.rows[0]] == ["b", "a", "d"]
    assert predictions.ranks.tolist() == [3, 0, 0]
    assert predictions.is_candidate.tolist() == [True, False, False]


def test_no_baseline_recommends_what_the_rules_forbid():
    table = a_table([AnItem("a"), AnItem("b", available=False), AnItem("c")])
    strategy = a_strategy(n_items=3, allow_seen=True, allow_owned=True, allow_current=False)
    model = OwnItems("own_items", strategy)
    predictions = model.predict([a_query(["a", "b", "c"], current="a")], table, ["c"])
    assert [table.ids[row] for row in predictions.rows[0] if row >= 0] == ["c"]
    assert predictions.ranks.tolist() == [1]
