"""Arrays of numbers as text: half precision, the lowest byte first, in base64."""

from base64 import b64decode, b64encode

import numpy as np

from models.numeric.arrays import Floats, Halves

LARGEST = 65_504.0
"""What half precision holds; anything beyond is written as this."""


def pack_halves(values: Floats) -> str:
    """Write an array's numbers, row by row, in 2.7 bytes each."""
    return b64encode(np.clip(values, -LARGEST, LARGEST).astype("<f2").tobytes()).decode()


def unpack_halves(text: str, n_rows: int, n_columns: int) -> Halves:
    """Read (n_rows, n_columns) numbers; they cannot be written to.

    Raises
    ------
    ValueError : the text is no base64, or they are not as many.
    """
    return np.frombuffer(b64decode(text, validate=True), "<f2").reshape(n_rows, n_columns)
