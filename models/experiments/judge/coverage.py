"""How many different items were shown: HyperLogLog, 4 KiB for any number of items, 1.6% standard error.

Flajolet, Fusy, Gandouet and Meunier 2007. Adding an item twice changes nothing, so a replay counts nothing twice.
"""

import numpy as np

from models.numeric.arrays import Bytes, Int64s

BITS = 12
N_REGISTERS = 1 << BITS
_REST_BITS = 63 - BITS


def no_items() -> Bytes:
    """Return empty registers: (4096,)."""
    return np.zeros(N_REGISTERS, np.uint8)


def add_items(registers: Bytes, hashes: Int64s) -> None:
    """Add items by their hashes (`models.numeric.ids.hash64`), in place."""
    rest = hashes >> BITS
    # Of a number below 2**53 the exponent is its number of bits.
    _, n_bits = np.frexp(rest.astype(np.float64))
    np.maximum.at(registers, hashes & (N_REGISTERS - 1), (_REST_BITS + 1 - n_bits).astype(np.uint8))


def count_items(registers: Bytes) -> int:
    """Estimate how many different items were added."""
    m = N_REGISTERS
    estimate = 0.7213 / (1 + 1.079 / m) * m**2 / np.ldexp(1.0, -registers.astype(np.int32)).sum()
    n_empty = int((registers == 0).sum())
    # Few items collide seldom: then the share of empty registers tells more.
    return round(float(m * np.log(m / n_empty) if estimate <= 2.5 * m and n_empty else estimate))
