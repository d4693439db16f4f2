"""What was read back and is not repeated yet, of ids that were written more than once as well."""

from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from dataflows.kafka.owed import Owed, record_hash
from dataflows.kafka.read_back import _headers_of


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abcd"), max_size=20))
def test_each_record_is_taken_once_the_oldest_of_an_id_first(written: list[str], repeated: list[str]):
    owed, left = Owed(), list(enumerate(written, start=5))
    for offset, name in left:
        owed.add(name, offset)
    for name in repeated:
        one = next((pair for pair in left if pair[1] == name), None)
        assert owed.take(record_hash(name)) == (one is not None)
        if one is not None:
            left.remove(one)
        assert owed.first(99) == min((offset for offset, _ in left), default=99)
        assert bool(owed) == bool(left)
    owed.clear()
    assert owed.first(7) == 7


def test_a_record_that_somebody_wrote_with_an_id_of_nothing_is_nobodys():
    for headers in (None, [], [("id", None)], [("id", None), ("flow", None)]):
        message = cast("Any", SimpleNamespace(headers=lambda headers=headers: headers))
        assert _headers_of(message) == ("", None)
