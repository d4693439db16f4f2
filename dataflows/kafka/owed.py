"""What a partition holds since a snapshot and its flow has not repeated yet."""

import xxhash


def record_hash(record_id: str) -> int:
    """Hash a record's id: what a writer remembers of each message it read back."""
    return xxhash.xxh3_64_intdigest(record_id.encode())


class Owed:
    """The records that a predecessor wrote, in the order of their offsets; an id may have been written more than once.

    Nobody who asks without consent is remembered, so the same request read twice is answered twice, by one id.
    """

    def __init__(self) -> None:
        self._offsets: dict[int, int | tuple[int, ...]] = {}
        """Of each id's hash; a tuple only where there is more than one, for there may be millions."""

    def __bool__(self) -> bool:
        return bool(self._offsets)

    def add(self, record_id: str, offset: int) -> None:
        """Note a record that lies behind all that were noted before."""
        key = record_hash(record_id)
        known = self._offsets.get(key)
        self._offsets[key] = offset if known is None else (*_all(known), offset)

    def take(self, key: int) -> bool:
        """Take the first record of a hash away; returns whether there was one."""
        known = self._offsets.pop(key, None)
        if known is None:
            return False
        if left := _all(known)[1:]:
            self._offsets[key] = left
        return True

    def first(self, otherwise: int) -> int:
        """Return the offset of the first record that is left."""
        return min((_all(known)[0] for known in self._offsets.values()), default=otherwise)

    def clear(self) -> None:
        """Forget all."""
        self._offsets.clear()


def _all(known: int | tuple[int, ...]) -> tuple[int, ...]:
    return known if isinstance(known, tuple) else (known,)
