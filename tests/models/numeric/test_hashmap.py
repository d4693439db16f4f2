import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.numeric.arrays import Int32s, Int64s
from models.numeric.hashmap import Numbers, find_slot, n_slots_of, place_of, slots_for
from models.numeric.kernels import kernel

KEYS = st.integers(1, (1 << 63) - 1)


@given(st.lists(st.lists(KEYS | st.integers(1, 40).map(lambda key: key << 20), max_size=30), max_size=8))
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


@kernel
def _longest_way(slots: Int32s, keys: Int64s) -> int:
    """Say how far the farthest key stands from where it belongs."""
    longest = 0
    for key in keys:
        way = (find_slot(slots, keys, key) - place_of(slots, key)) & (n_slots_of(slots) - 1)
        longest = max(longest, way)
    return longest


def test_keys_that_were_chosen_to_collide_lie_apart() -> None:
    """Chosen by any bits: without the process's secret nobody can tell which belong into one place."""
    n = 40_000
    chosen = {
        "low bits alike": np.arange(1, n + 1, dtype=np.int64) << 46,
        "middle bits alike": (np.arange(1, n + 1, dtype=np.int64) << 45) | np.arange(1, n + 1, dtype=np.int64) % 1024,
        "in a row": np.arange(1, n + 1, dtype=np.int64),
        "of one shard": np.arange(1, n + 1, dtype=np.int64) << 6,
    }
    for name, keys in chosen.items():
        assert _longest_way(slots_for(keys, n), keys) < 1_000, name
