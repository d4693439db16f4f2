"""Compares what was sent with what came of it: one slate an event, one letter a bad message, one assignment a user."""

from base64 import b64decode
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from dataflows.chaos.event_writer import Written
from dataflows.records import Record


class _Slate(msgspec.Struct):
    user_id: str
    trigger_id: str
    n_events: int


class _Letter(msgspec.Struct):
    payload: str


class _Assignment(msgspec.Struct):
    user_id: str


@dataclass(slots=True)
class Findings:
    """What is not as it should be, by topic and name; a clean run finds nothing."""

    lost: dict[str, list[str]] = field(default_factory=dict)
    """What should be there and is not."""
    duplicated: dict[str, list[str]] = field(default_factory=dict)
    """What is there once too often: a second time, or though nothing asked for it. Named as often as that is so."""
    state_jumps: list[str] = field(default_factory=list)
    """Slates that do not count one event more than the user's slate before, or answer an earlier event than that."""

    def compare(self, topic: str, found: Iterable[str], expected: Iterable[str]) -> None:
        """Note what a topic lacks, and what it holds too often."""
        times, wanted = Counter(found), set(expected)
        self.lost[topic] = sorted(wanted - times.keys())
        self.duplicated[topic] = sorted((times - Counter(wanted)).elements())


def audit(
    sent: Written, slates: Iterable[Record], letters: Iterable[Record], assignments: Iterable[Record]
) -> Findings:
    """Compare what was sent with what came of it.

    Parameters
    ----------
    slates, letters, assignments : all committed records of the three topics, a partition's in their order.
    """
    found = Findings()
    shown = list(map(msgspec.json.Decoder(_Slate).decode, _values(slates)))
    found.state_jumps = _jumps(shown, sent)
    found.compare(
        "recommendations",
        (f"{slate.user_id} {slate.trigger_id}" for slate in shown),
        (f"{user} {event}" for event, user in sent.events.items()),
    )
    refused = map(msgspec.json.Decoder(_Letter).decode, _values(letters))
    found.compare("dead-letters", (b64decode(letter.payload).decode() for letter in refused), sent.bad)
    assigned = map(msgspec.json.Decoder(_Assignment).decode, _values(assignments))
    found.compare("assignments", (assignment.user_id for assignment in assigned), sent.events.values())
    return found


def _values(records: Iterable[Record]) -> Iterable[bytes]:
    return (record.value or b"" for record in records)


def _jumps(slates: list[_Slate], sent: Written) -> list[str]:
    """Name the slates that do not follow the one before; what is there again is counted as that alone."""
    place = {event: number for number, event in enumerate(sent.events)}
    before: dict[str, tuple[int, int]] = {}
    seen: set[str] = set()
    jumps = []
    for slate in slates:
        if slate.trigger_id in seen or slate.trigger_id not in place:
            continue
        seen.add(slate.trigger_id)
        n_events, number = before.get(slate.user_id, (0, -1))
        here = place[slate.trigger_id]
        if slate.n_events != n_events + 1 or here < number:
            jumps.append(f"{slate.user_id} {slate.trigger_id}: event {slate.n_events} after {n_events}")
        before[slate.user_id] = slate.n_events, here
    return jumps
