"""The HTTP server, over real connections: what it says, and what it bears."""

import asyncio
import contextlib
import json
import re
import socket
import threading
import tracemalloc

import h11
import pytest
from collector.samples import NOW, check, image, sample, warns
from hypothesis import given, settings
from hypothesis import strategies as st

from ganeti_ceph.collector import serve
from ganeti_ceph.collector.mond import Monitor
from ganeti_ceph.collector.publish import publish
from ganeti_ceph.collector.serve import Body, Published, Server

MOND = [["cpu-avg-load", None, 0]]


class _Said(Monitor):
    """What mond says without one."""

    def __init__(self, said):
        self.said = said

    async def collectors(self):
        return self.said

    reports = collectors

    async def report(self, path):
        return {"name": "x"} if path == "/1/report/default/x" else None


@contextlib.asynccontextmanager
async def serving(published=None, said=(), **limits):
    """Give a function that opens a connection to a server, with the server."""
    limits = {"clock": lambda: NOW + 7.9, **limits}
    server = Server(_Said(list(said)), **limits)
    if published is not None:
        server.publish(published)
    listening = await server.start("127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield lambda: asyncio.open_connection("127.0.0.1", port)


async def answers(connect, sent, count=None):
    """Send bytes and return the answers, each as status, headers and body."""
    reader, writer = await connect()
    try:
        writer.write(sent)
        if count is None:
            writer.write_eof()
            return parse(await reader.read(-1), sent)
        received = b""
        while len(parse(received, sent)) < count:
            more = await reader.read(2**16)
            assert more, f"the connection ended after {received!r}"
            received += more
        return parse(received, sent)
    finally:
        writer.close()


def parse(received, sent=b""):
    """Return whole answers out of what a server sent; fails for what is not HTTP."""
    found = []
    client = h11.Connection(h11.CLIENT)
    while received:
        # What was asked only matters for HEAD.
        method = "HEAD" if sent.startswith(b"HEAD") else "GET"
        client.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        client.send(h11.EndOfMessage())
        client.receive_data(received)
        status, headers, body = 0, {}, b""
        while True:
            event = client.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): text.decode() for name, text in event.headers}
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return found
        found.append((status, headers, body))
        received, _ = client.trailing_data
        client = h11.Connection(h11.CLIENT)
    return found


def get(path, *headers, method="GET"):
    lines = (f"{method} {path} HTTP/1.1", "Host: node1:1816", *headers, "", "")
    return "\r\n".join(lines).encode()


def ask(path, *headers, published=None, said=(), method="GET"):
    """Return the answer to one request, of a server with the sample of samples."""

    async def once():
        shown = publish(sample()) if published is None else published
        async with serving(shown, said) as connect:
            (answer,) = await answers(connect, get(path, *headers, method=method), 1)
            return answer

    return asyncio.run(once())


def test_the_paths_are_those_of_ganetis_agent():
    assert ask("/")[2] == b"[1]"
    assert ask("/1")[2] == ask("/1/")[2] == b"null"
    listed = json.loads(ask("/1/list/collectors")[2])
    assert ["ceph-cluster", "storage", 1] in listed
    for name, category, _ in listed:
        status, headers, body = ask(f"/1/report/{category}/{name}")
        assert (status, headers["content-type"]) == (200, "application/json")
        assert json.loads(body)["name"] == name
    everything = json.loads(ask("/1/report/all")[2])
    assert [one["name"] for one in everything] == [name for name, _, _ in listed]


def test_what_mond_has_comes_first_and_nothing_is_lost():
    listed = json.loads(ask("/1/list/collectors", said=MOND)[2])
    assert listed[0] == MOND[0]
    assert listed[1:] == json.loads(ask("/1/list/collectors")[2])
    assert len(json.loads(ask("/1/report/all", said=[{"name": "x"}])[2])) == 4


def test_a_report_of_monds_is_where_mond_has_it():
    status, headers, body = ask("/1/report/default/x", said=[["x", None, 0]])
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == {"name": "x"}


def test_metrics_come_with_the_age_of_the_sample():
    status, headers, body = ask("/metrics?name=x")
    assert (status, headers["age"]) == (200, "7")
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"ganeti_ceph_up" in body


def test_half_a_character_is_no_obstacle():
    shown = publish(
        sample(health=warns(check("X", "\ud83d")), images=(image(0, name="\ud83d"),))
    )
    assert b'image="?"' in shown.bodies["/metrics"].content
    assert set(shown.bodies) == set(publish(sample()).bodies)


def test_the_head_is_that_of_the_answer():
    whole, head = ask("/metrics"), ask("/metrics", method="HEAD")
    assert head[2] == b""
    assert head[1]["content-length"] == whole[1]["content-length"]


def test_before_the_first_sample_there_is_nothing_yet():
    async def early():
        async with serving() as connect:
            (first,) = await answers(connect, get("/metrics"), 1)
            (second,) = await answers(connect, get("/"), 1)
            return first, second

    (status, headers, _), (fixed, _, _) = asyncio.run(early())
    assert (status, headers["retry-after"]) == (503, "1")
    assert fixed == 200


@pytest.mark.parametrize(
    "path, words",
    [
        ("/nothing", b"Resource not found\n"),
        (
            "/1/report/storage/x",
            b"Unable to produce a report for the requested resource\n",
        ),
        ("/../etc/passwd", b"Resource not found\n"),
        ("*", b"Resource not found\n"),
    ],
)
def test_other_paths_are_not_there(path, words):
    assert ask(path)[::2] == (404, words)


def test_a_whole_address_is_understood():
    assert ask("http://node1:1816/metrics")[0] == 200
    assert ask("http://node1:1816")[2] == b"[1]"


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "get"]
)
def test_other_methods_are_not_allowed(method):
    status, headers, _ = ask("/metrics", method=method)
    assert (status, headers["allow"]) == (405, "GET, HEAD")
    assert headers["connection"] == "close"


def converse(sent, count=None, **limits):
    """Return the answers to bytes that are sent at once."""

    async def once():
        async with serving(publish(sample()), **limits) as connect:
            return await asyncio.wait_for(answers(connect, sent, count), 20)

    return asyncio.run(once())


def statuses(found):
    return [status for status, _, _ in found]


def test_requests_may_follow_each_other_without_waiting():
    three = get("/") + get("/1") + get("/metrics", "Connection: close")
    assert statuses(converse(three)) == [200, 200, 200]


def test_old_clients_are_served():
    assert statuses(converse(b"GET / HTTP/1.0\r\n\r\n")) == [200]


def test_a_body_is_not_read():
    with_body = get("/", "Content-Length: 5") + b"hello" + get("/1")
    assert statuses(converse(with_body)) == [200]
    assert statuses(converse(get("/", "Transfer-Encoding: chunked"))) == [200]


@pytest.mark.parametrize(
    "sent, status",
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (get("/", "X: " + "x" * 2 * serve.MAX_HEAD), 431),
        (get("/" + "x" * 10 * serve.MAX_HEAD), 431),
        (get("/", *(f"X-{one}: {one}" for one in range(5000))), 431),
        (get("/", "X: " + "x" * 2**20), 431),
        (get("/", "Transfer-Encoding: strange"), 501),
    ],
    ids=[
        *("tls", "no host", "no version", "two hosts", "large header", "long path"),
        *("many headers", "huge header", "unknown encoding"),
    ],
)
def test_what_is_no_request_gets_an_answer_all_the_same(sent, status):
    found = converse(sent)
    assert statuses(found) == [status]
    assert found[0][1]["connection"] == "close"


def test_what_is_no_request_gets_an_answer_after_a_head_too():
    async def once():
        async with serving(publish(sample())) as connect:
            reader, writer = await connect()
            writer.write(get("/", method="HEAD") + b"nonsense\r\n\r\n")
            received = await asyncio.wait_for(reader.read(-1), 10)
            writer.close()
            return received

    received = asyncio.run(once())
    assert b"HTTP/1.1 400 " in received
    assert received.endswith(b"\r\n\r\nNot a request of HTTP\n")


def test_a_request_that_comes_too_slowly_is_given_up():
    async def slow():
        async with serving(publish(sample()), head_seconds=0.3) as connect:
            reader, writer = await connect()
            for piece in (
                b"GET /metrics HT",
                b"TP/1.1\r\n",
                b"Host: x\r\n",
                b"X: y\r\n",
            ):
                writer.write(piece)
                await asyncio.sleep(0.1)
            found = parse(await asyncio.wait_for(reader.read(-1), 5))
            writer.close()
            return found

    assert statuses(asyncio.run(slow())) == [408]


def test_a_client_that_says_nothing_is_left():
    async def mute():
        async with serving(publish(sample()), head_seconds=0.2) as connect:
            reader, writer = await connect()
            received = await asyncio.wait_for(reader.read(-1), 5)
            writer.close()
            return received

    assert asyncio.run(mute()) == b""


def test_an_answer_that_is_not_taken_is_given_up():
    """Its connection is ended, and what it was to get is not kept."""
    large = Published(NOW, {"/metrics": Body("text/plain", bytes(64 * 2**20))})

    async def full():
        async with serving(large, answer_seconds=0.5, connections=1) as connect:
            reader, writer = await connect()
            writer.write(get("/metrics"))
            await reader.read(10)
            end = asyncio.get_running_loop().time() + 10
            while asyncio.get_running_loop().time() < end:
                (answer,) = await answers(connect, get("/"), 1)
                if answer[0] == 200:
                    break
                await asyncio.sleep(0.1)
            writer.close()
            return answer

    assert asyncio.run(full())[0] == 200


def test_nothing_is_kept_for_a_client_that_is_no_longer_counted():
    """Nor the end of an answer of which the kernel takes all but that."""
    sizes = range(2**16, 2**20, 2**14)
    bodies = {f"/{size}": Body("text/plain", bytes(size)) for size in sizes}
    left = []

    class Watched(Server):
        async def _serve(self, reader, writer):
            await super()._serve(reader, writer)
            left.append(writer.transport.get_write_buffer_size())

    async def crowd():
        server = Watched(_Said([]), answer_seconds=0.3)
        server.publish(Published(NOW, bodies))
        listening = await server.start("127.0.0.1", 0)
        listening.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**15)
        where = listening.sockets[0].getsockname()
        async with listening:
            clients = []
            for path in bodies:
                client = socket.socket()
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**14)
                client.connect(where)
                client.send(get(path, "Connection: close"))
                clients.append(client)
            async with asyncio.timeout(10):
                while len(left) < len(sizes):
                    await asyncio.sleep(0.05)
            for client in clients:
                client.close()

    asyncio.run(crowd())
    assert set(left) == {0}


def test_all_that_read_slowly_share_one_long_report():
    size = 2**23
    report = b"[" + b" " * size + b"1]"
    shown = Published(NOW, {"/1/report/all": Body("application/json", report)})

    async def crowd():
        async with serving(shown, said=[0]) as connect:
            (answer,) = await answers(connect, get("/1/report/all"), 1)
            tracemalloc.start()
            held = [await connect() for _ in range(20)]
            for reader, writer in held:
                writer.write(get("/1/report/all"))
                await reader.read(10)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            for _, writer in held:
                writer.close()
            return answer, peak

    answer, peak = asyncio.run(crowd())
    assert json.loads(answer[2]) == [0, 1]
    assert peak < 2 * size


def test_more_connections_than_allowed_are_told_to_come_later():
    async def crowd():
        async with serving(publish(sample()), connections=2) as connect:
            held = [await connect() for _ in range(2)]
            for _, writer in held:
                writer.write(get("/"))
            for reader, _ in held:
                await reader.readuntil(b"[1]")
            (busy,) = await answers(connect, get("/"), 1)
            for _, writer in held:
                writer.close()
                await writer.wait_closed()
            for _ in range(100):
                (later,) = await answers(connect, get("/"), 1)
                if later[0] == 200:
                    break
                await asyncio.sleep(0.05)
            return busy, later

    busy, later = asyncio.run(crowd())
    assert (busy[0], busy[1]["retry-after"], later[0]) == (503, "1", 200)


def test_a_thousand_requests_take_no_threads_and_leave_nothing():
    async def many():
        async with serving(publish(sample())) as connect:
            before = threading.active_count()
            for _ in range(20):
                found = await asyncio.gather(
                    *(answers(connect, get("/metrics"), 1) for _ in range(50))
                )
                assert {one[0][0] for one in found} == {200}
            await asyncio.sleep(0.1)
            return threading.active_count() - before, len(asyncio.all_tasks())

    threads, tasks = asyncio.run(many())
    assert threads == 0
    assert tasks <= 2


PIECES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [
            *(b"GET", b"HEAD", b"POST", b"PRI", b" ", b"/", b"/metrics", b"*", b"?"),
            *(b" HTTP/1.1", b" HTTP/1.0", b" HTTP/2.0", b"\r\n", b"\n", b"\r", b"\0"),
            *(b"Host: x", b"Content-Length: 5", b"Content-Length: -1", b": ", b"\t"),
            *(b"Transfer-Encoding: chunked", b"5\r\nhello\r\n", b"0\r\n\r\n"),
            *(b"Connection: close", b"Expect: 100-continue", b"Upgrade: h2c"),
            get("/metrics"),
            get("/1/report/all"),
            b"x" * 5000,
        ]
    ),
)


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_whatever_is_sent_the_answers_are_http_and_the_next_one_is_served(sent):
    async def once():
        shown = Published(NOW, {"/metrics": Body("text/plain", b"x")})
        async with serving(shown, head_seconds=2) as connect:
            reader, writer = await connect()
            writer.write(sent)
            with contextlib.suppress(OSError):
                writer.write_eof()
            received = b""
            with contextlib.suppress(ConnectionResetError):
                received = await asyncio.wait_for(reader.read(-1), 10)
            writer.close()
            (after,) = await answers(connect, get("/metrics"), 1)
            return received, after

    received, after = asyncio.run(once())
    assert after[0] == 200
    while received:
        # An error may quote what was sent, so each answer is taken as long as it says.
        head, _, rest = received.partition(b"\r\n\r\n")
        status = re.match(rb"HTTP/1\.1 (200|400|404|405|431|501|503) ", head)
        assert status, received
        length = int(re.search(rb"(?i)\r\ncontent-length: (\d+)", head)[1])
        of_head = b"HEAD" in sent and status[1] in (b"200", b"404", b"503")
        assert of_head or len(rest) >= length
        received = rest if rest[:9] == b"HTTP/1.1 " else rest[length:]
