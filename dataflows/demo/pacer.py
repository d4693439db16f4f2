"""Paces the fetches to a broker that answers empty ones at once: `python pacer.py PORT BROKER_PORT`.

A Kafka client leaves it to the broker to hold back the answer to a fetch while there is nothing new. The embedded
broker does not hold back: each idle consumer asks it tens of thousands of times a second, and a few of them keep
a laptop's cores busy. Through this proxy a connection's next fetch comes `PAUSE_S` after the one before.

Nor does it keep to the size that a client asks for: it answers with all that a partition holds from the offset on, and
no client takes more than 100 MB. So the proxy passes on `MAX_RECORDS` bytes of it, and the client asks for the rest.

And it names every transaction that was ever aborted in a partition, where Kafka names those that reach into what it
answers. A client takes the records of a named one for aborted until it comes to its end; of one that ended before, that
is for ever, so a consumer would miss whatever a writer wrote after a crash. The proxy leaves such out.

All else passes untouched, but for the port that the broker names as its own, which becomes the proxy's. It is run by
its path, so as not to import the project, and its parent ends it.
"""

import asyncio
import sys

PAUSE_S = 0.004
HOST = "127.0.0.1"
FETCH = 1
NAMES_THE_BROKER = {3, 10, 60}
"""Metadata, FindCoordinator and DescribeCluster: their answers say where the broker is."""
MAX_RECORDS = 64_000_000
"""Bytes of records in an answer; of each partition there is one batch at least."""
BATCH_HEADER = 12
"""Bytes before the rest of a batch: its first offset, and how long that rest is."""
ATTRIBUTES, PRODUCER, RECORDS = 21, 43, 61
"""Where in a batch its attributes, its producer's id and its records stand."""
IS_CONTROL = 0x20
"""Of the attributes: the batch says how a transaction ended."""


NO_FETCH = -1
"""Stands for the version of what is no fetch."""


class Pacer:
    """One listening port before one broker, both on the loopback interface."""

    def __init__(self, port: int, broker_port: int) -> None:
        self._port = port
        self._broker_port = broker_port
        self._address = HOST.encode() + broker_port.to_bytes(4, "big")
        self._own_address = HOST.encode() + port.to_bytes(4, "big")

    async def serve(self) -> None:
        """Serve until cancelled."""
        server = await asyncio.start_server(self._connect, HOST, self._port)
        async with server:
            await server.serve_forever()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join a client with the broker until either ends."""
        writers = [writer]
        try:
            from_broker, to_broker = await asyncio.open_connection(HOST, self._broker_port)
            writers.append(to_broker)
            answers_to_change: dict[bytes, int] = {}
            pumps = [
                asyncio.ensure_future(self._pass_requests(reader, to_broker, answers_to_change)),
                asyncio.ensure_future(self._pass_answers(from_broker, writer, answers_to_change)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass  # the broker is down: the client sees its connection close, and tries again
        finally:
            for end in writers:
                end.close()
            await asyncio.gather(*(end.wait_closed() for end in writers), return_exceptions=True)

    async def _pass_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers_to_change: dict[bytes, int]
    ) -> None:
        """Pass requests on, and note those whose answers are to be changed, by correlation id: a fetch's version."""
        loop = asyncio.get_running_loop()
        next_fetch_at = 0.0
        while True:
            size, body = await _frame(reader)
            api = int.from_bytes(body[:2], "big")
            if api == FETCH:
                await asyncio.sleep(max(0.0, next_fetch_at - loop.time()))
                next_fetch_at = loop.time() + PAUSE_S
                answers_to_change[body[4:8]] = int.from_bytes(body[2:4], "big")
            elif api in NAMES_THE_BROKER:
                answers_to_change[body[4:8]] = NO_FETCH
            writer.write(size + body)
            await writer.drain()

    async def _pass_answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers_to_change: dict[bytes, int]
    ) -> None:
        while True:
            size, body = await _frame(reader)
            version = answers_to_change.pop(body[:4], None)
            if version == NO_FETCH:
                body = body.replace(self._address, self._own_address)
            elif version is not None:
                body = corrected(body, version)
                size = len(body).to_bytes(4, "big")
            writer.write(size + body)
            await writer.drain()


def corrected(body: bytes, version: int, limit: int = MAX_RECORDS) -> bytes:
    """Leave out of the answer to a fetch the records beyond a limit, and transactions that ended before its records.

    Parameters
    ----------
    body : the answer after its size, as Kafka's protocol lays it out.
    version : of the fetch, 4 to 13.
    limit : bytes of records.
    """
    answer = _FetchAnswer(body, version, limit)
    answer.copy()
    return b"".join(answer.parts) if answer.has_changed else body


class _FetchAnswer:
    """Walks through an answer once, copying what is passed on."""

    def __init__(self, body: bytes, version: int, limit: int) -> None:
        self._body = body
        self._at = self._copied = 0
        self._version = version
        self._is_flexible = version >= 12  # lengths are varints one too high, and tagged fields follow each structure
        self._left = limit
        self.has_changed = False
        self.parts: list[bytes] = []

    def copy(self) -> None:
        self._at += 4  # correlation id
        self._skip_tags()
        self._at += 4 if self._version < 7 else 10  # throttle time; error and session
        for _ in range(self._length(4)):
            name_size = 16 if self._version >= 13 else self._length(2)  # the topic's id or name
            self._at += name_size
            for _ in range(self._length(4)):
                self._copy_partition()
            self._skip_tags()
        self._skip_tags()
        self.parts.append(self._body[self._copied :])

    def _copy_partition(self) -> None:
        self._at += 22 if self._version < 5 else 30  # number, error, high watermark, last stable offset; log start
        aborted_at = self._at
        aborted = []
        for _ in range(self._length(4)):
            start = self._at
            self._at += 16
            self._skip_tags()
            aborted.append((self._int(start, 8), self._int(start + 8, 8), self._body[start : self._at]))
        after_aborted = self._at
        self._at += 4 if self._version >= 11 else 0  # preferred replica
        size_at = self._at
        size = self._length(4)
        named = self._unfinished(aborted, size) if aborted and size else aborted
        if len(named) < len(aborted):
            self._put(aborted_at, self._packed(len(named)) + b"".join(raw for _, _, raw in named), after_aborted)
        kept = self._whole_batches(size)
        self._left -= kept
        if kept < size:
            self._put(size_at, self._packed(kept) + self._body[self._at : self._at + kept], self._at + size)
        self._at += size
        self._skip_tags()

    def _put(self, start: int, instead: bytes, end: int) -> None:
        """Copy what comes before `start`, and something else in place of what stands until `end`."""
        self.parts += (self._body[self._copied : start], instead)
        self._copied = end
        self.has_changed = True

    def _unfinished(self, aborted: list[tuple[int, int, bytes]], size: int) -> list[tuple[int, int, bytes]]:
        """Return the aborted transactions, each a producer and a first offset, that end among the records here."""
        first = self._int(self._at, 8)
        ends: dict[int, tuple[int, bool]] = {}
        at, end = self._at, self._at + size
        while at + RECORDS < end:
            if self._body[at + ATTRIBUTES + 1] & IS_CONTROL:
                ends.setdefault(self._int(at + PRODUCER, 8), (self._int(at, 8), self._is_abort(at + RECORDS)))
            at += BATCH_HEADER + self._int(at + 8, 4)

        def reaches_here(producer: int, began: int) -> bool:
            if began >= first:
                return True
            ended, is_abort = ends.get(producer, (0, False))
            return is_abort and not any(other == producer and began < later < ended for other, later, _ in aborted)

        return [(producer, began, raw) for producer, began, raw in aborted if reaches_here(producer, began)]

    def _is_abort(self, at: int) -> bool:
        """Say whether a control record ends its transaction without success."""
        at = self._after_varint(at) + 1  # its length; attributes
        for _ in range(3):  # time and offset since the batch's, the key's length
            at = self._after_varint(at)
        return self._int(at + 2, 2) == 0

    def _after_varint(self, at: int) -> int:
        while self._body[at] >= 0x80:
            at += 1
        return at + 1

    def _int(self, at: int, size: int) -> int:
        return int.from_bytes(self._body[at : at + size], "big")

    def _packed(self, length: int) -> bytes:
        return _varint(length + 1) if self._is_flexible else length.to_bytes(4, "big")

    def _whole_batches(self, size: int) -> int:
        """Return how many of these bytes to keep: the first batch, and all that fit beside it."""
        if size <= self._left:
            return size
        kept = 0
        while kept + BATCH_HEADER <= size:
            batch = BATCH_HEADER + self._int(self._at + kept + 8, 4)
            if kept and kept + batch > self._left:
                return kept
            kept += batch
        return size

    def _length(self, fixed: int) -> int:
        """Read a length, in `fixed` bytes where it is no varint; nothing at all is 0 long."""
        if self._is_flexible:
            return max(0, self._varint() - 1)
        self._at += fixed
        return max(0, int.from_bytes(self._body[self._at - fixed : self._at], "big", signed=True))

    def _skip_tags(self) -> None:
        if self._is_flexible:
            for _ in range(self._varint()):
                self._varint()
                size = self._varint()
                self._at += size

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._body[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*parts, value))


async def _frame(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read one message of Kafka's protocol: its size, and as many bytes."""
    size = await reader.readexactly(4)
    return size, await reader.readexactly(int.from_bytes(size, "big"))


if __name__ == "__main__":
    asyncio.run(Pacer(int(sys.argv[1]), int(sys.argv[2])).serve())
