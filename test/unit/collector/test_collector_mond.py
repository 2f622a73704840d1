"""What mond says, asked over a real connection."""

import asyncio
import contextlib

import pytest

from ganeti_ceph.collector.mond import ALL, LARGEST, LIST, Monitor


@contextlib.asynccontextmanager
async def agent(answer):
    """Run something that answers as mond; give its port and what it was asked.

    ``answer`` is bytes for all, or by path; None says nothing.
    """
    asked = []

    async def serve(reader, writer):
        asked.append((await reader.readuntil(b"\r\n\r\n")).split()[1].decode())
        said = answer[asked[-1]] if isinstance(answer, dict) else answer
        if said is not None:
            writer.write(said)
            await writer.drain()
            writer.close()
        else:
            await reader.read()
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], asked


def answer(body, status=b"200 OK"):
    length = str(len(body)).encode()
    return b"HTTP/1.1 %s\r\nContent-Length: %s\r\n\r\n%s" % (status, length, body)


def ask(said, times=1, **limits):
    async def run():
        async with agent(said) as (port, asked):
            monitor = Monitor(port=port, **limits)
            found = [await monitor.reports() for _ in range(times)]
            return found, asked

    return asyncio.run(run())


def test_what_it_says_is_asked_for_once_in_a_while():
    found, asked = ask(answer(b'[{"name": "drbd"}]'), times=3, fresh=60)
    assert found == [[{"name": "drbd"}]] * 3
    assert asked == [ALL]
    assert len(ask(answer(b"[]"), times=3, fresh=0)[1]) == 3


def test_many_who_ask_at_once_ask_once():
    async def run():
        async with agent(answer(b"[1]")) as (port, asked):
            monitor = Monitor(port=port)
            found = await asyncio.gather(*(monitor.reports() for _ in range(50)))
            return found, len(asked)

    assert asyncio.run(run()) == ([[1]] * 50, 1)


def test_each_path_has_its_answer():
    async def run():
        async with agent(answer(b"[1]")) as (port, asked):
            monitor = Monitor(port=port, fresh=60)
            await monitor.reports()
            await monitor.collectors()
            return asked

    assert asyncio.run(run()) == [ALL, LIST]


def test_only_what_it_lists_is_passed_on():
    said = {
        LIST: answer(b'[["cpu", null, 0], ["lv", "storage", 0]]'),
        "/1/report/default/cpu": answer(b'{"name": "cpu"}'),
        "/1/report/storage/lv": answer(b"no", b"500 Oops"),
    }
    paths = ["/1/report/default/cpu"] * 3
    paths += ["/1/report/storage/lv", "/1/report/default/..", ALL]

    async def run():
        async with agent(said) as (port, asked):
            monitor = Monitor(port=port, fresh=60)
            return [await monitor.report(path) for path in paths], asked

    found, asked = asyncio.run(run())
    assert found == [{"name": "cpu"}] * 3 + [None] * 3
    assert asked == [LIST, "/1/report/default/cpu", "/1/report/storage/lv"]


def test_a_collector_that_fails_does_not_take_the_others_with_it():
    broken = answer(b"A web handler threw an exception.", b"500 Oops")
    found, _ = ask(
        {
            ALL: broken,
            LIST: answer(
                b'[["cpu", null, 0], ["drbd", "storage", 1], ["lv", "storage", 0]]'
            ),
            "/1/report/default/cpu": answer(b'{"name": "cpu"}'),
            "/1/report/storage/drbd": broken,
            "/1/report/storage/lv": answer(b'{"name": "lv"}'),
        }
    )
    assert found == [[{"name": "cpu"}, {"name": "lv"}]]


def test_one_that_hangs_is_left_alone_for_a_while():
    said = {
        ALL: None,
        LIST: answer(b'[["cpu", null, 0], ["lv", "storage", 0]]'),
        "/1/report/default/cpu": answer(b'{"name": "cpu"}'),
        "/1/report/storage/lv": None,
    }
    found, asked = ask(said, times=3, seconds=0.3, fresh=0)
    assert found == [[{"name": "cpu"}]] * 3
    assert asked.count(ALL) == asked.count("/1/report/storage/lv") == 1
    assert asked.count("/1/report/default/cpu") == 3
    assert ask(said, times=2, seconds=0.1, fresh=0, patience=0)[1].count(ALL) == 2


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"nonsense\r\n\r\n",
        answer(b"{}"),
        answer(b"[1"),
        answer(b"\xff"),
        answer(b"[1]", b"500 Oops"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1]",
        answer(b"[" + b" " * LARGEST + b"]"),
        None,
    ],
    ids=[
        *("nothing", "no http", "no list", "half", "bytes", "error", "cut", "long"),
        "silent",
    ],
)
def test_an_answer_that_is_no_good_is_none(said):
    assert ask(said, seconds=0.5)[0] == [[]]


def test_without_it_there_is_nothing():
    async def run():
        async with agent(b"") as (port, _):
            pass
        return await Monitor(port=port).reports()

    assert asyncio.run(run()) == []
