import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.numeric.hashmap import KEY_SHIFT, Numbers

KEYS = st.integers(1, (1 << 63) - 1)


@given(st.lists(st.lists(KEYS | st.integers(1, 40).map(lambda key: key << KEY_SHIFT), max_size=30), max_size=8))
def test_numbers_are_dense_and_stay_as_they_were_given(batches: list[list[int]]) -> None:
    numbers, given_before = Numbers(), dict[int, int]()
    for batch in batches:
        found = numbers.ensure(np.array(batch, np.int64)).tolist()
        for key, number in zip(batch, found, strict=True):
            assert given_before.setdefault(key, number) == number
    assert sorted(given_before.values()) == list(range(numbers.n))
    known = np.array(list(given_before), np.int64)
    assert numbers.of(known).tolist() == list(given_before.values())


def test_a_key_that_has_no_number_is_not_found() -> None:
    numbers = Numbers()
    assert numbers.of(np.array([7], np.int64)).tolist() == [-1]
    numbers.ensure(np.array([8], np.int64))
    assert numbers.of(np.array([7, 8], np.int64)).tolist() == [-1, 0]
