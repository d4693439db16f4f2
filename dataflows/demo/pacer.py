"""Paces the fetches to a broker that answers empty ones at once: `python pacer.py PORT BROKER_PORT`.

A Kafka client leaves it to the broker to hold back the answer to a fetch while there is nothing new. The embedded
broker does not hold back: each idle consumer asks it tens of thousands of times a second, and a few of them keep
a laptop's cores busy. Through this proxy a connection's next fetch comes `PAUSE_S` after the one before; all else
passes untouched, but for the port that the broker names as its own, which becomes the proxy's. It is run by its
path, so as not to import the project, and its parent ends it.
"""

import asyncio
import sys

PAUSE_S = 0.004
HOST = "127.0.0.1"
FETCH = 1
NAMES_THE_BROKER = {3, 10, 60}
"""Metadata, FindCoordinator and DescribeCluster: their answers say where the broker is."""


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
            answers_to_change: set[bytes] = set()
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
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers_to_change: set[bytes]
    ) -> None:
        loop = asyncio.get_running_loop()
        next_fetch_at = 0.0
        while True:
            size, body = await _frame(reader)
            api = int.from_bytes(body[:2], "big")
            if api == FETCH:
                await asyncio.sleep(max(0.0, next_fetch_at - loop.time()))
                next_fetch_at = loop.time() + PAUSE_S
            elif api in NAMES_THE_BROKER:
                answers_to_change.add(body[4:8])
            writer.write(size + body)
            await writer.drain()

    async def _pass_answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers_to_change: set[bytes]
    ) -> None:
        while True:
            size, body = await _frame(reader)
            if body[:4] in answers_to_change:
                answers_to_change.remove(body[:4])
                body = body.replace(self._address, self._own_address)
            writer.write(size + body)
            await writer.drain()


async def _frame(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read one message of Kafka's protocol: its size, and as many bytes."""
    size = await reader.readexactly(4)
    return size, await reader.readexactly(int.from_bytes(size, "big"))


if __name__ == "__main__":
    asyncio.run(Pacer(int(sys.argv[1]), int(sys.argv[2])).serve())
