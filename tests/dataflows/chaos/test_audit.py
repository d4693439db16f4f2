"""The auditor is only worth something where it finds faults: each is made up here, and has to be named."""

from base64 import b64encode

import orjson

from dataflows.chaos.audit import Findings, audit
from dataflows.chaos.event_writer import Written
from dataflows.records import Record

BAD = '{"event_id":"bad-0",'


def what_was_sent() -> Written:
    """Three events of two users, and a bad message."""
    return Written({"e-0": "u-1", "e-1": "u-2", "e-2": "u-1"}, [BAD])


def a_record(**fields: object) -> Record:
    return Record(0, 0, 0, None, orjson.dumps(fields))


def a_slate(user: str, trigger: str, n_events: int) -> Record:
    return a_record(user_id=user, trigger_id=trigger, n_events=n_events, recommendation_id=f"r-{trigger}")


def a_letter(payload: str) -> Record:
    return a_record(topic="events", payload=b64encode(payload.encode()).decode())


def an_assignment(user: str) -> Record:
    return a_record(user_id=user, variant="one")


SLATES = (a_slate("u-1", "e-0", 1), a_slate("u-2", "e-1", 1), a_slate("u-1", "e-2", 2))
LETTERS = (a_letter(BAD),)
ASSIGNMENTS = (an_assignment("u-1"), an_assignment("u-2"))


def found_in(
    slates: tuple[Record, ...] = SLATES,
    letters: tuple[Record, ...] = LETTERS,
    assignments: tuple[Record, ...] = ASSIGNMENTS,
) -> Findings:
    return audit(what_was_sent(), slates, letters, assignments)


def lost(found: Findings) -> dict[str, list[str]]:
    return {topic: names for topic, names in found.lost.items() if names}


def duplicated(found: Findings) -> dict[str, list[str]]:
    return {topic: names for topic, names in found.duplicated.items() if names}


def test_what_is_there_once_is_not_complained_of() -> None:
    found = found_in()
    assert (lost(found), duplicated(found), found.state_jumps) == ({}, {}, [])


def test_slates_of_different_users_may_come_in_any_order() -> None:
    found = found_in(slates=(SLATES[1], SLATES[0], SLATES[2]))
    assert (lost(found), duplicated(found), found.state_jumps) == ({}, {}, [])


def test_a_slate_that_is_missing_is_named() -> None:
    found = found_in(slates=SLATES[:2])
    assert lost(found) == {"recommendations": ["u-1 e-2"]}


def test_a_slate_that_is_there_twice_is_named_and_is_no_jump() -> None:
    found = found_in(slates=(*SLATES, SLATES[0]))
    assert duplicated(found) == {"recommendations": ["u-1 e-0"]}
    assert found.state_jumps == []


def test_a_slate_that_is_there_three_times_is_named_twice() -> None:
    found = found_in(slates=(*SLATES, SLATES[0], SLATES[0]))
    assert duplicated(found) == {"recommendations": ["u-1 e-0", "u-1 e-0"]}


def test_one_lost_and_one_twice_do_not_make_up_for_each_other() -> None:
    found = found_in(slates=(SLATES[0], SLATES[1], SLATES[1]))
    assert lost(found) == {"recommendations": ["u-1 e-2"]}
    assert duplicated(found) == {"recommendations": ["u-2 e-1"]}


def test_a_slate_for_another_user_is_lost_there_and_too_much_here() -> None:
    found = found_in(slates=(*SLATES[:2], a_slate("u-2", "e-2", 2)))
    assert lost(found) == {"recommendations": ["u-1 e-2"]}
    assert duplicated(found) == {"recommendations": ["u-2 e-2"]}


def test_a_slate_that_nothing_asked_for_is_too_much() -> None:
    found = found_in(slates=(*SLATES, a_slate("u-1", "e-9", 3)))
    assert duplicated(found) == {"recommendations": ["u-1 e-9"]}


def test_a_count_that_leaves_one_out_is_a_jump() -> None:
    found = found_in(slates=(*SLATES[:2], a_slate("u-1", "e-2", 3)))
    assert found.state_jumps == ["u-1 e-2: event 3 after 1"]


def test_a_count_that_stands_still_is_a_jump() -> None:
    """As where a state was taken from an older snapshot than the offset."""
    found = found_in(slates=(*SLATES[:2], a_slate("u-1", "e-2", 1)))
    assert found.state_jumps == ["u-1 e-2: event 1 after 1"]


def test_a_count_that_does_not_begin_at_one_is_a_jump() -> None:
    found = found_in(slates=(SLATES[0], a_slate("u-2", "e-1", 2), SLATES[2]))
    assert found.state_jumps == ["u-2 e-1: event 2 after 0"]


def test_one_jump_is_counted_once() -> None:
    sent = Written({f"e-{number}": "u-1" for number in range(4)})
    slates = [a_slate("u-1", f"e-{number}", number + 1 + (number > 0)) for number in range(4)]
    assert audit(sent, slates, [], []).state_jumps == ["u-1 e-1: event 3 after 1"]


def test_slates_of_a_user_out_of_the_order_of_the_events_are_a_jump() -> None:
    found = found_in(slates=(a_slate("u-1", "e-2", 1), SLATES[1], a_slate("u-1", "e-0", 2)))
    assert found.state_jumps == ["u-1 e-0: event 2 after 1"]


def test_a_letter_that_is_missing_is_named() -> None:
    assert lost(found_in(letters=())) == {"dead-letters": [BAD]}


def test_a_letter_that_is_there_twice_is_named() -> None:
    assert duplicated(found_in(letters=LETTERS * 2)) == {"dead-letters": [BAD]}


def test_a_letter_of_a_good_event_is_too_much() -> None:
    good = '{"event_id":"e-0"}'
    assert duplicated(found_in(letters=(*LETTERS, a_letter(good)))) == {"dead-letters": [good]}


def test_an_assignment_that_is_missing_or_there_twice_is_named() -> None:
    found = found_in(assignments=(an_assignment("u-1"), an_assignment("u-1")))
    assert lost(found) == {"assignments": ["u-2"]}
    assert duplicated(found) == {"assignments": ["u-1"]}
