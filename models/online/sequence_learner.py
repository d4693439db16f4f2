"""A sequence model that goes on learning on the stream: each act is predicted, then learned.

What people go on to changes within days, and a model that was trained once knows nothing of the items since. So every
act is an example: it is predicted from what its user did before it, by the model that learns and by the one in service,
then learned. The one that learns goes into service once it has predicted better.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from models.items.columns import Columns
from models.numeric.arrays import Int64s
from models.online.growing_model import Drawn, Followed, GrowingModel, SequenceAct, gains_of, laid_out
from models.sequence.checkpoint import SequenceCheckpoint, named
from models.sequence.config import OnlineSequenceConfig
from models.sequence.fit import threads

MOST_COMPARED = 100_000
"""Users by whom two models are compared: those who acted last."""
_NOTHING: Int64s = np.empty((0, 2), np.int64)


class SequenceLearner:
    """Goes on from a trained model.

    Parameters
    ----------
    start : the model, which counts as in service.
    """

    def __init__(self, start: SequenceCheckpoint, config: OnlineSequenceConfig | None = None) -> None:
        self.config = config or OnlineSequenceConfig()
        self.start = self.service = start
        self.positions = start.positions
        """Where the acts that it has taken end, as whoever feeds it counts; the checkpoint says it."""
        self.compared = HeadToHead()
        self.decided: tuple[float, float] | None = None
        """Mean gains of the one that learns and of the one in service, at the newest decision."""
        self.n_steps = 0
        self.learned_until = start.learned_until
        self._model = GrowingModel(start, self.config)
        self._users: dict[int, Int64s] = {}
        self._known_since: dict[int, int] = {}
        """By user: how many decisions there had been when they came."""
        self._n_decisions = self._n_lost = 0
        self._waiting: list[Followed] = []

    def remember(self, acts: Iterable[SequenceAct]) -> None:
        """Take acts, in the order of time, that the model has learned already."""
        for act in acts:
            self._note(act, -1)
            self._model.count(act.item)

    def learn(self, acts: Iterable[SequenceAct], table: Columns) -> int:
        """Take acts, in the order of time: predict each whose user is known, then learn it.

        Parameters
        ----------
        table : what is known of the items.

        Returns
        -------
        How many steps were taken: acts wait until a whole batch is there.
        """
        n_before = self.n_steps
        for act in acts:
            before = self._note(act, self._n_decisions)
            self._model.count(act.item)
            if len(before):
                self._waiting.append(Followed(act, before))
            if len(self._waiting) >= self.config.batch_size:
                self._step_if_any(table)
        return self.n_steps - n_before

    def decide(self, table: Columns) -> SequenceCheckpoint | None:
        """Return the model as it is, and take it for in service, if it is better than the one that is; else None.

        It goes on from that one by small steps. So where the two are alike nothing is lost by the swap, and to wait
        until nobody can doubt it would cost what was learned: better on the acts since the last decision suffices.

        Users who have come since the decision before have no say, so a crowd that is made up for one decides nothing.
        A model that keeps losing has been led astray: it begins anew from the one in service.
        """
        self._step_if_any(table)
        self._n_decisions += 1
        compared, config = self.compared, self.config
        if compared.n < config.min_judged or compared.n_users < config.min_users:
            return None
        self.decided = learner, service = compared.means()
        made = self.checkpoint() if learner > service else None
        self.compared = HeadToHead()
        if made is not None:
            self.service, self._n_lost = made, 0
            return made
        self._n_lost += 1
        if self._n_lost >= config.max_lost:
            self._model, self._n_lost = self._model.begun_anew(self.service), 0
        return None

    def checkpoint(self) -> SequenceCheckpoint:
        """Return the model as it is, with what it was trained on until now."""
        network, vocabulary = self._model.frozen()
        provenance = {
            **self.service.provenance,
            "learned_until": self.learned_until,
            "positions": dict(self.positions),
            "online": self._evidence(),
        }
        return named(network, vocabulary, str(self.service.provenance.get("data_set", "stream")), provenance)

    def _evidence(self) -> dict[str, float]:
        if not self.compared.n:
            return {}
        learner, service = self.compared.means()
        return {"gain": round(learner, 4), "replaced": round(service, 4), "n_slates": self.compared.n}

    def forget(self, erased_until: Callable[[int], int]) -> int:
        """Take away what users did until they asked for it, by their hashes; say how many acts. What they taught stays.

        Parameters
        ----------
        erased_until : Unix ms; 0 where a user never asked.
        """
        n_gone = 0
        for user in [user for user in self._users if erased_until(user)]:
            acts = self._users.pop(user)
            self._known_since.pop(user, None)
            kept = acts[acts[:, 0] > erased_until(user)]
            n_gone += len(acts) - len(kept)
            if len(kept):
                self._users[user], self._known_since[user] = kept, self._n_decisions
        self._waiting = [one for one in self._waiting if one.before[0, 0] > erased_until(one.act.user)]
        self.compared.forget(lambda user: erased_until(user) > 0)
        return n_gone

    def _note(self, act: SequenceAct, n_decisions: int) -> Int64s:
        """Put an act behind what its user did before, in the order that a profile keeps; return what was before.

        Parameters
        ----------
        n_decisions : that there have been, as is noted of a user who is new.
        """
        self._known_since.setdefault(act.user, n_decisions)
        before = self._users.pop(act.user, _NOTHING)
        after = np.concatenate([before, np.array([[act.at, -act.item]])])
        if len(before) and act.at <= before[-1, 0]:
            after = after[np.lexsort((after[:, 1], after[:, 0]))]
            before = before[before[:, 0] <= act.at]  # what came later is no past of an act that is late
        self._users[act.user] = after[-self._model.n_recent :]
        if len(self._users) > self.config.max_users:
            rested = next(iter(self._users))
            del self._users[rested], self._known_since[rested]
        return before

    def _step_if_any(self, table: Columns) -> None:
        """Predict, then learn the acts that wait."""
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        draws = self._model.draw(self.config.n_negatives, self.n_steps)
        self._model.meet(np.array([one.act.item for one in batch], np.int64), draws.items, table)
        with threads(1):  # steps are small: others would wait for each other, and on a busy machine for long
            self._judge(batch, draws, table)
            self._model.learn(batch, draws, table, self.n_steps)
        self.learned_until = max(self.learned_until, *(one.act.at for one in batch))
        self.n_steps += 1

    def _judge(self, batch: Sequence[Followed], draws: Drawn, table: Columns) -> None:
        """Ask both models for the acts of users who have a say among the drawn items: the gain is 1 / the rank."""
        batch = [one for one in batch if self._known_since.get(one.act.user, self._n_decisions) < self._n_decisions]
        if not batch:
            return
        laid, drawn = laid_out(batch), np.unique(draws.items)
        learner = gains_of(self._model.network, self._model.facts, laid, drawn, table)
        service = gains_of(self.service.network, self.service.vocabulary.facts, laid, drawn, table)
        for one, ours, theirs in zip(batch, learner.tolist(), service.tolist(), strict=True):
            self.compared.add(one.act.user, ours, theirs)


class HeadToHead:
    """How well two models predicted the same acts, by user: who acts a thousand times has no more say than others."""

    def __init__(self) -> None:
        self._users: dict[int, tuple[int, float, float]] = {}

    @property
    def n(self) -> int:
        """How many acts they were."""
        return sum(n for n, *_ in self._users.values())

    @property
    def n_users(self) -> int:
        """Whose acts they were."""
        return len(self._users)

    def add(self, user: int, learner: float, service: float) -> None:
        """Take the gains on an act."""
        n, ours, theirs = self._users.pop(user, (0, 0.0, 0.0))
        self._users[user] = n + 1, ours + learner, theirs + service
        if len(self._users) > MOST_COMPARED:
            del self._users[next(iter(self._users))]

    def means(self) -> tuple[float, float]:
        """Return the mean gains of the one that learns and of the one in service: over users, of each one's acts."""
        n, learner, service = np.array(list(self._users.values())).T
        return float((learner / n).mean()), float((service / n).mean())

    def forget(self, is_erased: Callable[[int], bool]) -> None:
        """Take away what erased users did."""
        self._users = {user: sums for user, sums in self._users.items() if not is_erased(user)}
