"""The sequence model in service goes on learning: a process of its own reads the events and publishes what is better.

It keeps no state of its own. The model is on `model-updates`, with the moment until which it has learned, and the
events are on their topic: a process that starts reads them again, remembers what users did until that moment, and
learns what came after it. So it may be killed at any time, and runs beside the flows without taking their time.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from dataflows.codecs import Decoder
from dataflows.errors import EddyError
from dataflows.following.erasures import Erasures
from dataflows.following.tables import KafkaTables
from dataflows.kafka.reader import Batch, KafkaReader
from models.config import ProfileConfig
from models.counts.transitions import UserTransitions, act_of
from models.events import EventConfig
from models.messages import DeadLetter, Event
from models.names import SEQUENCE
from models.numeric.ids import hash64
from models.online.sequence_learner import SequenceAct, SequenceLearner
from models.online.versions import Row, rows_of_sequence
from models.sequence.checkpoint import SequenceCheckpoint

log = logging.getLogger(__name__)

POLL_S = 0.2
MOST_ACTIVE = 50_000
"""Users of whom is known what came twice and who is a bot: those who acted last; some 6 KB each."""


class SequenceFollower:
    """Learns from events as they come.

    Parameters
    ----------
    reader : of the events, from their beginning.
    tables : what is known of the items, and which model serves; loaded.
    decode : reads events; bad ones are only counted, `recommend` writes their dead letters.
    erasures : who has asked to be forgotten; followed by somebody.
    write : writes rows of `model-updates`, and waits until they are there.
    every_s : how long it learns until it decides again whether it is better than the model in service.
    counts : acts that taught nothing are added to it, by reason, and `learned`.
    clock : seconds that only rise.

    Raises
    ------
    EddyError : no sequence model is in service.
    """

    def __init__(
        self,
        reader: KafkaReader,
        tables: KafkaTables,
        decode: Decoder[Event],
        events: EventConfig,
        profile: ProfileConfig,
        erasures: Erasures,
        write: Callable[[list[Row]], None],
        every_s: float,
        counts: Counter[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader, self._tables, self._decode = reader, tables, decode
        self._events, self._profile = events, profile
        self._erasures, self._n_erased = erasures, erasures.version
        self._write, self._every_s, self._clock = write, every_s, clock
        self._counts = counts
        self._users: dict[str, UserTransitions] = {}
        self._decide_at = clock() + every_s
        start = self._newest_in_service()
        if start is None:
            raise EddyError(
                "no sequence model is in service to go on from: `eddy train --model sequence` makes one, and `eddy "
                "models publish` puts it into service"
            )
        self.learner = SequenceLearner(start)
        self._remembers_until = start.learned_until

    def step(self) -> SequenceCheckpoint | None:
        """Take what has come, and decide where it is time to; return the model that went into service.

        Raises
        ------
        EddyError : a topic cannot be read or written.
        """
        self._take(self._reader.poll(POLL_S))
        self._tables.refresh()
        if (other := self._newest_in_service()) is not None and other.version != self.learner.service.version:
            log.info("%s is in service: it goes on from there", other.version)
            self.learner.go_on_from(other)
        if self._erasures.version != self._n_erased:
            self._n_erased = self._erasures.version
            self._counts["erased_users"] += self.learner.forget(lambda user: self._erasures.until_hash(user) > 0)
        if self._clock() < self._decide_at or not self._reader.complete:
            return None
        self._decide_at = self._clock() + self._every_s
        if self._tables.registry.pinned(SEQUENCE) is not None:
            return None  # a person has chosen
        better = self.learner.decide()
        if better is not None:
            registry = self._tables.registry
            try:
                rows = rows_of_sequence(better, registry.versions(SEQUENCE), registry.in_use(SEQUENCE))
            except ValueError as error:
                raise EddyError(f"the sequence model has become too large to be published: {error}") from error
            self._write(rows)
        return better

    def _take(self, batches: Iterable[Batch]) -> None:
        acts = sorted(
            (act for batch in batches for act in self._acts(batch)), key=lambda act: act.at
        )  # a partition holds whole users, so theirs keep their order
        known = [act for act in acts if act.at <= self._remembers_until]
        self.learner.remember(known)
        self.learner.learn((act for act in acts if act.at > self._remembers_until), self._tables.table)
        self._counts["learned"] += len(acts) - len(known)

    def _acts(self, batch: Batch) -> Iterator[SequenceAct]:
        for event in self._decode(batch.records):
            if isinstance(event, DeadLetter):
                self._counts[event.reason] += 1
                continue
            key = self._erasures.keys(event.user_id)
            if self._erasures.covers(key, event.timestamp, event.timestamp):
                self._counts["before_erasure"] += 1
            elif (act := act_of(event, self._events)) is not None:
                user = self._users.pop(key, None) or UserTransitions(self._profile)
                self._users[key] = user
                if len(self._users) > MOST_ACTIVE:
                    del self._users[next(iter(self._users))]
                if isinstance(learned := user.apply(act), str):
                    self._counts[learned] += 1
                else:
                    yield SequenceAct(hash64(key), act.item, act.at)

    def _newest_in_service(self) -> SequenceCheckpoint | None:
        """Return the sequence model that has come into service since this was last asked, if any has."""
        newest = None
        for name, version in self._tables.take_versions():
            if name == SEQUENCE:
                newest = version if isinstance(version, SequenceCheckpoint) else None
        return newest
