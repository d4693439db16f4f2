"""The sequence model in service goes on learning: a process of its own reads the events and publishes what is better.

It keeps no state of its own. The model is on `model-updates`, with the places in the topic of events until which it has
learned: a process that starts reads the events from some way before there, remembers what users did until there, and
learns what came after it. So it may be killed at any time, starts as fast whatever the topic holds, and runs beside the
flows without taking their time.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable

from dataflows.codecs import Decoder
from dataflows.errors import EddyError
from dataflows.following.erasures import Erasures, known_events
from dataflows.following.tables import KafkaTables
from dataflows.kafka.reader import Batch, KafkaReader
from models.config import ProfileConfig
from models.counts.transitions import UserTransitions, act_of
from models.events import EventConfig
from models.messages import Event
from models.names import SEQUENCE
from models.online.growing_model import SequenceAct
from models.online.sequence_learner import SequenceLearner
from models.online.versions import FOLLOWED_SLOTS, Row, rows_of_sequence
from models.sequence.checkpoint import SequenceCheckpoint

log = logging.getLogger(__name__)

POLL_S = 0.2
MOST_ACTIVE = 50_000
"""Users of whom is known what came twice and who is a bot: those who acted last; of each a few dozen acts."""
REMEMBERED = 1_000_000
"""Events of all partitions that are read before those to be learned: 45 s of CPU, some twenty of each who is active."""
NOBODY_SERVES = (
    "no sequence model is in service to go on from: `eddy train --model sequence` makes one, and `eddy models publish` "
    "puts it into service"
)


class SequenceFollower:
    """Learns from events as they come.

    Parameters
    ----------
    reader : of the events; nobody else uses it, and it begins where it has to.
    tables : what is known of the items, and which model serves; loaded.
    decode : reads events; bad ones are only counted, `recommend` writes their dead letters.
    erasures : who has asked to be forgotten; followed by somebody.
    write : writes rows of `model-updates`: all of them, or none.
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
        self._served_before: str | None = None
        """What served when it published, until that has come back."""
        start = self._changed_service()
        if start is None:
            raise EddyError(NOBODY_SERVES)
        self._in_service = start
        self.learner = SequenceLearner(start)
        self._positions = self._begin()

    def step(self) -> SequenceCheckpoint | None:
        """Take what has come, and decide where it is time to; return the model that went into service.

        Raises
        ------
        EddyError : a topic cannot be read or written, or no model serves any more.
        """
        self._take(self._reader.poll(POLL_S))
        self._tables.refresh()
        self._in_service = self._changed_service() or self._in_service
        is_own_on_its_way = self._is_own_on_its_way()
        if self._erasures.version != self._n_erased:
            self._forget()
        if self._clock() < self._decide_at or not self._reader.complete or is_own_on_its_way:
            return None
        self._decide_at = self._clock() + self._every_s
        if self._tables.registry.pinned(SEQUENCE) is not None:
            return None  # a person has chosen
        better = self.learner.decide(self._tables.table)
        if better is not None:
            self._publish(better)
        return better

    def _publish(self, better: SequenceCheckpoint) -> None:
        registry = self._tables.registry
        try:
            rows = rows_of_sequence(better, registry.versions(SEQUENCE), registry.in_use(SEQUENCE), FOLLOWED_SLOTS)
        except ValueError as error:
            raise EddyError(f"the sequence model has become too large to be published: {error}") from error
        self._served_before = registry.serving(SEQUENCE).version
        self._write(rows)

    def _is_own_on_its_way(self) -> bool:
        """Say whether what was published has yet to come back; until then nobody knows which slots are free.

        Where another model serves, it goes on from that one.
        """
        serving = self._tables.registry.serving(SEQUENCE).version
        if serving == self.learner.service.version:
            self._served_before = None
        elif serving != self._served_before and serving == self._in_service.version:
            self._begin_with(self._in_service)
        return self._served_before is not None

    def _begin_with(self, other: SequenceCheckpoint) -> None:
        """Go on from another model: it has learned until elsewhere, so events are read again."""
        log.info("%s is in service: it goes on from there", other.version)
        self.learner, self._served_before = SequenceLearner(other), None
        self._users.clear()
        self._reader.begin("earliest")  # what is known of the topic is as old as the last time that it was begun
        self._positions = self._begin()

    def _begin(self) -> dict[str, int]:
        """Read from some way before what is to be learned, and return until where the model has learned.

        A model of `eddy train` says when its events ended and not where: what happens later is not written sooner.
        """
        positions, ends = self._believed_positions(), self._reader.ends
        learned = (
            {place: positions.get(str(place[1]), 0) for place in ends}
            if positions
            else self._reader.offsets_at(self.learner.start.learned_until + 1)
        )
        starts: dict[str, dict[int, int]] = {}
        for (topic, partition), offset in learned.items():
            starts.setdefault(topic, {})[partition] = max(0, offset - REMEMBERED // len(learned))
        self._reader.begin(starts)
        return positions

    def _believed_positions(self) -> dict[str, int]:
        """Return until where the model has learned each partition; nothing, where the topic is another one since.

        Then the next version says nothing of that topic's either.
        """
        positions, ends = self.learner.start.positions, self._reader.ends
        if any(positions.get(str(partition), 0) > end for (_, partition), end in ends.items()):
            self.learner.positions = positions = {}
        return dict(positions)

    def _forget(self) -> None:
        self._n_erased = self._erasures.version
        self._counts["erased_acts"] += self.learner.forget(self._erasures.until_hash)
        for key in [key for key, user in self._users.items() if user.newest_at <= self._erasures.until(key)]:
            del self._users[key]

    def _take(self, batches: Iterable[Batch]) -> None:
        known: list[SequenceAct] = []
        new: list[SequenceAct] = []
        learner, positions = self.learner, self._positions
        for batch in batches:
            place = str(batch.partition)
            for event, record in known_events(self._decode, batch.records, self._erasures, self._counts):
                if (act := self._act_of(event)) is not None:
                    is_known = (
                        record.offset < positions.get(place, 0) if positions else act.at <= learner.start.learned_until
                    )
                    (known if is_known else new).append(act)
            learner.positions[place] = max(learner.positions.get(place, 0), batch.records[-1].offset + 1)
        # A partition holds whole users, so theirs keep their order.
        learner.remember(sorted(known, key=lambda act: act.at))
        learner.learn(sorted(new, key=lambda act: act.at), self._tables.table)
        self._counts["learned"] += len(new)

    def _act_of(self, event: Event) -> SequenceAct | None:
        """Say what a model learns of an event: nothing where it teaches nothing, by the rules of `learn`."""
        act = act_of(event, self._events)
        if act is None:
            return None
        user = self._users.pop(event.user_id, None) or UserTransitions(self._profile)
        self._users[event.user_id] = user
        if len(self._users) > MOST_ACTIVE:
            del self._users[next(iter(self._users))]
        if isinstance(refused := user.apply(act), str):
            self._counts[refused] += 1
            return None
        return SequenceAct(act.user, act.item, act.at)

    def _changed_service(self) -> SequenceCheckpoint | None:
        """Return the sequence model that has come into service since this was last asked; None where none has.

        Raises
        ------
        EddyError : none serves any more.
        """
        for name, version in reversed(self._tables.take_versions()):
            if name == SEQUENCE:
                if not isinstance(version, SequenceCheckpoint):
                    raise EddyError(NOBODY_SERVES)
                return version
        return None
