import asyncio

import pytest

from dataflows.serve.hub import MAX_WAITING, Hub, TooManyStreamsError


def test_each_stream_of_a_user_gets_the_users_slates_alone() -> None:
    async def run() -> None:
        hub = Hub(10)
        with hub.stream("u") as one, hub.stream("u") as two, hub.stream("v") as other:
            hub.publish("u", "e-1", b"slate")
            assert (one.get_nowait(), two.get_nowait(), other.empty()) == (b"slate", b"slate", True)

    asyncio.run(run())


def test_a_slow_stream_misses_the_oldest_slates_and_holds_up_nobody() -> None:
    async def run() -> None:
        hub = Hub(10)
        with hub.stream("u") as queue:
            for n in range(MAX_WAITING + 5):
                hub.publish("u", f"e-{n}", str(n).encode())
            assert queue.get_nowait() == b"5"
            assert queue.qsize() == MAX_WAITING - 1

    asyncio.run(run())


def test_a_request_gets_the_slate_that_it_triggered() -> None:
    async def run() -> None:
        hub = Hub(10)
        with hub.awaiting("r-1") as slate:
            hub.publish("u", "r-0", b"another")
            assert not slate.done()
            hub.publish("u", "r-1", b"its own")
            hub.publish("u", "r-1", b"again")
            assert await slate == b"its own"
        hub.publish("u", "r-1", b"nobody waits any more")

    asyncio.run(run())


def test_no_more_streams_are_opened_than_may_be_and_closed_ones_make_room() -> None:
    async def run() -> None:
        hub = Hub(1)
        with hub.stream("u"), pytest.raises(TooManyStreamsError), hub.stream("u"):
            pass
        with hub.stream("u"):
            assert hub.n_streams == 1
        assert hub.n_streams == 0

    asyncio.run(run())
