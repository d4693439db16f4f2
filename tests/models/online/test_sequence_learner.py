"""A sequence model that goes on learning: what it learns, when it serves, and that nothing depends on how acts come."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch

from models.config import ItemSideConfig, ProfileConfig
from models.counts.item_side import ItemSide
from models.events import EventConfig
from models.items import ItemTable
from models.messages import Item
from models.numeric.ids import hash64, hash_all
from models.online import growing_model
from models.online.growing_model import SequenceAct
from models.online.sequence_learner import HeadToHead, SequenceLearner
from models.sequence.checkpoint import SequenceCheckpoint, read_sequence_checkpoint
from models.sequence.config import OnlineSequenceConfig
from tests.models.sequence.builders import ITEMS, LEARNED_UNTIL, a_sequence_model

NEW = [Item(f"n-{n}", categories=["new"]) for n in range(20)]
CONFIG = OnlineSequenceConfig(learning_rate=1e-2, batch_size=16)


@pytest.fixture(scope="module")
def table() -> ItemTable:
    return ItemSide([*ITEMS, *NEW], 0, ItemSideConfig(), EventConfig(), ProfileConfig()).table


def circle(items: Sequence[Item], n: int, n_users: int = 40, seed: int = 0) -> list[SequenceAct]:
    """Let users go round a circle of items, each from a place of its own; of another seed, on another day."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, len(items), n_users).tolist()
    acts = []
    for k, user in enumerate(rng.integers(0, n_users, n).tolist()):
        places[user] = (places[user] + 1) % len(items)
        acts.append(
            SequenceAct(
                hash64(f"u-{user}"),
                hash64(items[places[user]].item_id),
                LEARNED_UNTIL + 86_400_000 * seed + 1_000 * (k + 1),
            )
        )
    return acts


def a_learner(start: SequenceCheckpoint, config: OnlineSequenceConfig = CONFIG, n_users: int = 40) -> SequenceLearner:
    """Make one that has known the users for long, so that they have a say."""
    learner = SequenceLearner(start, config)
    first = hash64(ITEMS[0].item_id)
    learner.remember(SequenceAct(hash64(f"u-{user}"), first, LEARNED_UNTIL - 1) for user in range(n_users))
    return learner


def hits(model: SequenceCheckpoint, items: Sequence[Item], table: ItemTable) -> float:
    """Say how often the item after two of a circle comes first, among all."""
    encoder, rows = model.encoder(), np.arange(table.n, dtype=np.int32)
    vectors = encoder.item_vectors(rows, table)
    own = table.rows_of(hash_all([item.item_id for item in items]))
    before = np.stack([np.roll(own, 2), np.roll(own, 1)], axis=1)
    at = LEARNED_UNTIL + np.tile([1_000, 2_000], (len(items), 1))
    users = encoder.user_vectors(vectors[before], at, np.full(len(items), 2))
    return float((encoder.logits(users, vectors).argmax(axis=1) == own).mean())


def test_it_learns_where_people_go_now_among_items_that_it_had_never_met(table: ItemTable):
    start = a_sequence_model()
    learner = a_learner(start, CONFIG)
    assert hits(start, NEW, table) < 0.2
    learner.learn(circle(NEW, 8_000), table)
    better = learner.decide(table)
    assert better is not None
    assert better is learner.service
    assert hits(better, NEW, table) > 0.4
    assert better.learned_until > LEARNED_UNTIL
    assert better.evidence["gain"] > 2 * better.evidence["replaced"] > 0


def test_a_model_that_has_become_worse_does_not_go_into_service(table: ItemTable):
    """Steps so large that they wreck it: what it predicts before it learns says so."""
    learner = a_learner(a_sequence_model(), CONFIG)
    learner.learn(circle(NEW, 6_000), table)
    known = learner.decide(table)
    assert known is not None
    wrecked = a_learner(known, OnlineSequenceConfig(learning_rate=3.0, batch_size=16))
    wrecked.remember(circle(NEW, 400))
    for seed in range(1, 4):
        wrecked.learn(circle(NEW, 800, seed=seed), table)
        assert wrecked.compared.n >= wrecked.config.min_judged
        assert wrecked.decide(table) is None
    assert wrecked.service is known


def test_nothing_is_decided_by_few_acts_or_few_users(table: ItemTable):
    learner = a_learner(a_sequence_model(), CONFIG)
    learner.learn(circle(NEW, 500), table)
    assert learner.decide(table) is None
    of_few = a_learner(a_sequence_model(), CONFIG)
    of_few.learn(circle(NEW, 3_000, n_users=CONFIG.min_users - 1), table)
    assert of_few.compared.n > CONFIG.min_judged
    assert of_few.decide(table) is None


def test_a_crowd_that_comes_for_one_decision_has_no_say_in_it(table: ItemTable):
    learner = a_learner(a_sequence_model(), CONFIG)
    pushed = [NEW[n % 3] for n in range(3)]
    for seed in range(2):
        crowd = [
            SequenceAct(hash64(f"{seed}-{act.user}"), act.item, act.at)
            for act in circle(pushed, 4_000, n_users=400, seed=seed)
        ]
        learner.learn(sorted([*crowd, *circle(ITEMS, 200, seed=seed)], key=lambda act: act.at), table)
        assert learner.compared.n_users <= 40
        assert learner.decide(table) is None, "the forty act too seldom to decide"


def test_a_model_that_keeps_losing_begins_anew_from_the_one_in_service(table: ItemTable):
    learner = a_learner(a_sequence_model(), CONFIG)
    with torch.no_grad():
        learner._model.network.norm.weight.fill_(torch.nan)
    for seed in range(3):
        learner.learn(circle(NEW, 1_000, seed=seed), table)
        assert learner.decide(table) is None
    learner.learn(circle(NEW, 4_000, seed=4), table)
    better = learner.decide(table)
    assert better is not None
    assert set(hash_all([item.item_id for item in NEW])) <= set(better.vocabulary.items.tolist())


def test_attributes_that_no_item_has_any_more_make_room_for_new_ones():
    start = a_sequence_model()
    n_known = len(start.vocabulary.attributes)

    def described(words: str) -> ItemTable:
        items = [Item(item.item_id, categories=[f"{words}-{n}"]) for n, item in enumerate(NEW)]
        return ItemSide([*ITEMS, *items], 0, ItemSideConfig(), EventConfig(), ProfileConfig()).table

    learner = a_learner(start, OnlineSequenceConfig(batch_size=16, max_items=n_known + 25))
    learner.learn(circle(NEW, 400), described("old"))
    now = described("new")
    learner._model._tidied_at = -10_000
    learner.learn(circle(NEW, 400, seed=1), now)
    wanted = np.unique(now.attributes[now.rows_of(hash_all([item.item_id for item in NEW]))])
    assert np.isin(wanted[wanted != 0], learner.checkpoint().vocabulary.attributes).all()


def test_who_acts_a_thousand_times_has_one_say():
    compared = HeadToHead()
    for _ in range(1_000):
        compared.add(1, learner=1.0, service=0.0)
    for user in range(2, 11):
        compared.add(user, learner=0.1, service=0.4)
    learner, service = compared.means()
    assert (compared.n, compared.n_users) == (1_009, 10)
    assert (learner, service) == (pytest.approx(0.19), pytest.approx(0.36))


def test_what_it_learns_does_not_depend_on_how_the_acts_come(table: ItemTable):
    acts, versions = circle(NEW, 500), set()
    for size in (1, 37, 500):
        learner = SequenceLearner(a_sequence_model(), CONFIG)
        for first in range(0, len(acts), size):
            learner.learn(acts[first : first + size], table)
        versions.add(learner.checkpoint().version)
    assert len(versions) == 1


def test_what_is_remembered_is_not_learned_and_is_known_afterwards(table: ItemTable):
    acts = circle(NEW, 400)
    learner = SequenceLearner(a_sequence_model(), CONFIG)
    learner.remember(acts)
    assert learner.n_steps == 0
    assert learner.learn(circle(NEW, 17, seed=1), table) == 1, "users are known, so each act has something before it"
    fresh = SequenceLearner(a_sequence_model(), CONFIG)
    assert fresh.learn(circle(NEW, 17, seed=1), table) == 0


def test_a_checkpoint_of_a_grown_model_is_read_back_as_it_was(table: ItemTable):
    """Numbers go by the order in which items came, and a vocabulary by their hashes."""
    many = [Item(f"m-{n}") for n in range(1_500)]  # more than there is room for at first
    learner = SequenceLearner(a_sequence_model(), CONFIG)
    learner.learn(circle(NEW, 2_000), table)
    learner.learn(circle(many, 3_000, n_users=400), table)
    made = learner.checkpoint()
    read = read_sequence_checkpoint(made.to_bytes(), "here")
    assert read.version == made.version
    assert set(hash_all([item.item_id for item in NEW])) <= set(read.vocabulary.items.tolist())
    assert hits(read, NEW, table) == hits(made, NEW, table)


def test_acts_that_come_twice_or_late_stand_where_they_happened(table: ItemTable):
    [user, a, b, c] = [hash64(name) for name in ("u", "i-1", "i-2", "i-3")]
    config = OnlineSequenceConfig(batch_size=1)
    learner = SequenceLearner(a_sequence_model(), config)
    learner.remember(
        [
            SequenceAct(user, a, 1_000),
            SequenceAct(user, c, 3_000),
            SequenceAct(user, b, 2_000),
            SequenceAct(user, b, 2_000),
        ]
    )
    in_order = SequenceLearner(a_sequence_model(), config)
    in_order.remember(
        [
            SequenceAct(user, a, 1_000),
            SequenceAct(user, b, 2_000),
            SequenceAct(user, b, 2_000),
            SequenceAct(user, c, 3_000),
        ]
    )
    for one in (learner, in_order):
        one.learn([SequenceAct(user, hash64("i-4"), 4_000)], table)
    assert learner.checkpoint().version == in_order.checkpoint().version


def test_nothing_of_an_erased_user_is_known_or_learned_any_more(table: ItemTable):
    [gone, stays] = [hash64(f"u-{n}") for n in range(2)]
    acts = [act for act in circle(NEW, 40, n_users=2) if act.user == gone][: CONFIG.batch_size - 1]
    last = acts[-1].at
    learner = SequenceLearner(a_sequence_model(), CONFIG)
    learner.learn(acts, table)
    assert learner.forget(lambda user: last if user == gone else 0) == len(acts)
    assert learner.forget(lambda user: last if user == gone else 0) == 0
    learner.learn([act._replace(user=stays) for act in acts], table)
    assert learner.n_steps == 0, "of the erased user's acts none waits to be learned"
    assert learner.learn([acts[0]], table) == 0, "nobody of this name has done anything before"


def test_who_came_back_after_an_erasure_is_known_by_what_came_since(table: ItemTable):
    acts = [SequenceAct(1, hash64(f"i-{n}"), 1_000 * n) for n in range(1, 6)]
    learner = SequenceLearner(a_sequence_model(), CONFIG)
    learner.remember(acts)
    assert learner.forget(lambda _: 3_000) == 3
    assert learner.forget(lambda _: 3_000) == 0
    learner.learn([SequenceAct(1, hash64("i-9"), 9_000)] * CONFIG.batch_size, table)
    assert learner.n_steps == 1


def test_a_late_act_is_not_predicted_from_what_came_after_it(table: ItemTable):
    config = OnlineSequenceConfig(batch_size=1)
    learner = SequenceLearner(a_sequence_model(), config)
    learner.remember([SequenceAct(1, hash64("i-1"), 5_000)])
    assert learner.learn([SequenceAct(1, hash64("i-2"), 4_000)], table) == 0, "nothing was before it"
    assert learner.learn([SequenceAct(1, hash64("i-3"), 6_000)], table) == 1


def test_a_model_that_has_gone_wrong_in_its_numbers_never_serves(table: ItemTable):
    learner = a_learner(a_sequence_model(), CONFIG)
    with torch.no_grad():
        learner._model.network.norm.weight.fill_(torch.nan)
    learner.learn(circle(NEW, 2_000), table)
    assert learner.compared.means()[0] < learner.compared.means()[1]
    assert learner.decide(table) is None


def test_no_more_users_are_kept_than_are_set(table: ItemTable):
    config = OnlineSequenceConfig(batch_size=1, max_users=2)
    learner = SequenceLearner(a_sequence_model(), config)

    def act(user: str, at: int) -> Iterator[SequenceAct]:
        yield SequenceAct(hash64(user), hash64("n-1"), at)

    for at, user in enumerate(("a", "b", "a", "c"), 1):
        learner.learn(act(user, at), table)
    assert learner.learn(act("a", 9), table) == 1, "who acted last is kept"
    assert learner.learn(act("b", 10), table) == 0, "who acted longest ago is not"


def test_no_more_items_have_vectors_of_their_own_than_are_set(table: ItemTable):
    """Whoever sends ever new ids fills neither memory nor versions."""
    config = OnlineSequenceConfig(batch_size=16, max_items=30)
    learner = SequenceLearner(a_sequence_model(), config)
    learner.learn(circle([Item(f"x-{n}") for n in range(500)], 1_000), table)
    made = read_sequence_checkpoint(learner.checkpoint().to_bytes(), "here")
    assert 24 <= len(made.vocabulary.items) <= 30
    assert learner.n_steps > 30


def test_ids_that_come_once_keep_no_item_out_that_people_act_on(table: ItemTable):
    config = OnlineSequenceConfig(learning_rate=1e-2, batch_size=16, max_items=60)
    learner = a_learner(a_sequence_model(), config)
    learner.learn(circle([Item(f"x-{n}") for n in range(500)], 400, n_users=20), table)
    acts = circle(NEW, 6_000, seed=1)
    flood = [SequenceAct(hash64(f"bot-{n % 7}"), hash64(f"y-{n}"), acts[n].at) for n in range(0, 6_000, 20)]
    learner.learn(sorted([*acts, *flood], key=lambda act: act.at), table)
    made = learner.checkpoint()
    assert set(hash_all([item.item_id for item in NEW])) <= set(made.vocabulary.items.tolist())
    assert len(made.vocabulary.items) <= 60
    ours, theirs = learner.compared.means()
    assert ours > 5 * theirs


def test_a_model_with_more_items_than_are_set_keeps_those_that_it_was_trained_on(table: ItemTable):
    start = a_sequence_model()
    n_trained = len(start.vocabulary.items)
    learner = SequenceLearner(start, OnlineSequenceConfig(batch_size=16, max_items=5))
    learner.learn(circle([Item(f"x-{n}") for n in range(500)], 1_000), table)
    made = learner.checkpoint()
    assert len(made.vocabulary.items) <= n_trained
    kept = np.isin(start.vocabulary.items, made.vocabulary.items).sum()
    assert kept >= int(0.8 * n_trained)


def test_what_is_kept_of_a_full_table_is_as_it_was(table: ItemTable):
    learner = SequenceLearner(a_sequence_model(), CONFIG)
    learner.learn(circle(NEW, 600), table)
    before, kept = learner.checkpoint(), hash_all([item.item_id for item in NEW])
    learner._model._let_go()
    after = learner.checkpoint()
    assert len(after.vocabulary.items) == int(0.8 * len(before.vocabulary.items))
    was, stays = (model.network.items(torch.from_numpy(model.vocabulary.numbers(kept))) for model in (before, after))
    assert was.any(dim=1).all(), "each has a vector of its own"
    assert torch.equal(was, stays)
    learner.learn(circle(NEW, 600, seed=1), table)  # what trains it fits the table as well


def test_a_wide_model_grows_no_further_than_can_be_published(table: ItemTable, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(growing_model, "_MOST_BYTES", 40 * 50)  # of 8 numbers and a hash: 50 items
    learner = SequenceLearner(a_sequence_model(), CONFIG)
    learner.learn(circle([Item(f"x-{n}") for n in range(500)], 1_000), table)
    assert 40 <= len(learner.checkpoint().vocabulary.items) <= 50
