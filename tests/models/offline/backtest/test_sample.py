"""Predictions that are kept to be looked at."""

from dataclasses import replace

import numpy as np

from models.items import ItemTable
from models.messages import Item
from models.numeric.ids import hash64
from models.offline.backtest.sample import N_SAMPLED, NamedItem, PredictionSample, SampledPrediction
from models.strategy import Strategy
from models.user.query import Query

HOUR = 3_600_000


def a_table() -> ItemTable:
    table = ItemTable(0)
    table.apply_items([Item("a", title="Alien"), Item("b", title="Brazil")], [])
    return table


def a_query(user_id: str, at: int) -> Query:
    return Query(user_id, "event", "e-1", at, Strategy())


def test_a_sample_holds_the_newest_prediction_of_a_dozen_users_whatever_the_order_they_come_in():
    table, rows = a_table(), np.zeros((1, 1), np.int32)
    queries = [a_query(f"u-{n}", HOUR + n) for n in range(3 * N_SAMPLED)]
    samples = [PredictionSample(), PredictionSample()]
    for sample, ordered in zip(samples, (queries, queries[::-1]), strict=True):
        for query in ordered:
            sample.offer([query], ["a"], rows, table)
        for query in ordered:
            sample.offer([replace(query, at=query.at + HOUR)], ["b"], rows, table)
    assert samples[0].by_user == samples[1].by_user
    chosen = sorted(hash64(query.user_id) for query in queries)[:N_SAMPLED]
    assert sorted(samples[0].by_user) == chosen
    assert all(prediction.at >= 2 * HOUR for prediction in samples[0].by_user.values())


def test_a_prediction_names_the_slate_and_the_next_item_which_may_not_be_known():
    table = a_table()
    row = table.row_of(hash64("b"))
    sample = PredictionSample()
    sample.offer([a_query("u-1", HOUR), a_query("u-2", HOUR)], ["b", "new"], np.array([[row, -1]] * 2, np.int32), table)
    found = sample.by_user
    assert found[hash64("u-1")] == SampledPrediction(HOUR, [], [NamedItem("b", "Brazil")], NamedItem("b", "Brazil"))
    assert found[hash64("u-1")].place == 1
    assert (found[hash64("u-2")].next, found[hash64("u-2")].place) == (NamedItem("new", ""), 0)
