from dataflows.cli.letters import originals
from dataflows.codecs import dead_letter, encode
from dataflows.files.replay import Message
from dataflows.records import Record


def a_letter(
    offset: int,
    value: bytes | None = b"\xff",
    topic: str = "events",
    reason: str = "malformed",
    partition: int = 0,
    key: bytes | None = b"u",
) -> Record:
    """Dead letters lie in the order in which they are given, whatever they hold."""
    letter = dead_letter(topic, Record(partition, offset, 1, key, value), reason, "")
    return Record(0, offset, 2, b"events/0/0", encode(letter))


def test_a_letter_gives_back_its_original_bytes_and_key_even_if_they_are_no_text():
    assert originals([a_letter(0, b"\xff\x00{", key=b"\xfe")]).messages == {"events": [Message(b"\xfe", b"\xff\x00{")]}


def test_a_message_without_key_or_value_comes_back_without():
    assert originals([a_letter(0, None, reason="empty", key=None)]).messages == {"events": [Message(None, None)]}


def test_an_empty_value_is_not_taken_for_none():
    assert originals([a_letter(0, b"", reason="truncated")]).messages == {"events": [Message(b"u", b"")]}


def test_messages_of_a_partition_come_back_in_their_old_order():
    letters = [a_letter(7, b"7"), a_letter(10, b"10"), a_letter(3, b"3"), a_letter(1, b"other", partition=1)]
    assert [message.value for message in originals(letters).messages["events"]] == [b"3", b"7", b"10", b"other"]


def test_letters_are_chosen_by_topic_and_reason():
    letters = [a_letter(0, b"a"), a_letter(1, b"b", reason="late"), a_letter(2, b"c", topic="requests", reason="late")]
    assert originals(letters, reason="late").messages == {
        "events": [Message(b"u", b"b")],
        "requests": [Message(b"u", b"c")],
    }
    assert originals(letters, topic="events", reason="late").messages == {"events": [Message(b"u", b"b")]}


def test_a_record_that_is_no_letter_is_named_and_keeps_no_other_from_coming_back():
    nested = b"[" * 100_000 + b"]" * 100_000
    records = [Record(0, 9, 1, None, b"{}"), Record(1, 4, 1, None, nested), a_letter(0, b"good")]
    unpacked = originals(records)
    assert unpacked.messages == {"events": [Message(b"u", b"good")]}
    assert [line[:26] for line in unpacked.left_out] == ["dead-letters/0, offset 9, ", "dead-letters/1, offset 4, "]


def test_a_message_of_which_only_the_beginning_is_held_is_not_put_back():
    unpacked = originals([a_letter(6, b"{" * 2**20), a_letter(7, b"whole")])
    assert unpacked.messages == {"events": [Message(b"u", b"whole")]}
    assert [line.startswith("events/0, offset 6: ") for line in unpacked.left_out] == [True]
    assert originals([a_letter(6, b"{" * 2**20)], reason="late").left_out == []
