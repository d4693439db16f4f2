import numpy as np
import pytest

from models.experiments.judge.coverage import add_items, count_items, no_items
from models.numeric.ids import hash_all


@pytest.mark.parametrize("n", [0, 1, 50, 3_000, 12_000, 100_000])
def test_different_items_are_counted_within_some_percent(n: int):
    registers = no_items()
    hashes = hash_all([f"i-{number}" for number in range(n)])
    add_items(registers, hashes)
    once = registers.copy()
    add_items(registers, hashes[::-1])
    assert registers.tolist() == once.tolist()
    assert count_items(registers) == pytest.approx(n, rel=0.05)


def test_parts_join_by_the_larger_register():
    hashes = hash_all([f"i-{number}" for number in range(500)])
    whole, first, second = no_items(), no_items(), no_items()
    add_items(whole, hashes)
    add_items(first, hashes[:300])
    add_items(second, hashes[200:])
    assert np.maximum(first, second).tolist() == whole.tolist()


def test_the_rarest_hash_has_the_highest_rank():
    registers = no_items()
    add_items(registers, np.array([7, 1 << 62 | 8, (1 << 63) - 1 & ~0xFFF | 9], np.int64))
    # 51 bits are left of the 12 that choose the register: none set ranks 52, the highest set ranks 1.
    assert registers[[7, 8, 9]].tolist() == [52, 1, 1]
