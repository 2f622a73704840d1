"""Serves what was read last over HTTP, as Ganeti's monitoring agent serves its own.

What is sent was made when the sample was taken; nobody who asks waits for Ceph.  All
connections are served by one thread.  Each is bounded in number, in what it may send,
and in the time that it takes.
"""

import asyncio
import contextlib
import dataclasses
import email.utils
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import h11

from ganeti_ceph.collector import mond
from ganeti_ceph.collector.mond import Monitor

#: Connections at a time; whoever comes then is told to come later.
CONNECTIONS = 128
#: Bytes of a request's line and headers.
MAX_HEAD = 16 * 1024
#: Seconds for a request's line and headers to come, all together, and for an answer to
#: be taken.
HEAD_SECONDS = 10.0
ANSWER_SECONDS = 60.0

_CHUNK = 64 * 1024
#: How much of a request is looked at at a time, by which it may be larger.
_PIECE = 4 * 1024
#: What is still taken from a client, in seconds and bytes, after it was refused.
_LINGER_SECONDS = 1.0
_LINGER = 2**20
_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"


@dataclasses.dataclass(frozen=True)
class Body:
    """What is sent for a path, and of which kind it is."""

    kind: str
    content: bytes | memoryview
    #: More headers.
    headers: tuple[tuple[str, str], ...] = ()
    #: What is sent before the content, which is the same one for all.
    before: bytes = b""


@dataclasses.dataclass(frozen=True)
class Published:
    """All that is served of one sample."""

    #: Seconds of the epoch.
    taken: float
    #: By path; reports and the list of collectors are lists in JSON.
    bodies: Mapping[str, Body]


@dataclasses.dataclass(frozen=True)
class _Answer:
    status: int
    body: Body
    headers: tuple[tuple[str, str], ...] = ()


def _error(status: int, words: str, *headers: tuple[str, str]) -> _Answer:
    return _Answer(status, Body(_TEXT, f"{words}\n".encode()), headers)


#: What is there before and whatever was read, as mond has it.
_FIXED = {"/": Body(_JSON, b"[1]"), "/1": Body(_JSON, b"null")}


class Server:
    """An HTTP server for what is published; lives in one event loop."""

    def __init__(
        self,
        monitor: Monitor,
        *,
        connections: int = CONNECTIONS,
        head_seconds: float = HEAD_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Serve nothing yet; ``monitor`` is asked for what mond has to say."""
        self._monitor = monitor
        self._connections = connections
        self._head_seconds = head_seconds
        self._answer_seconds = answer_seconds
        self._clock = clock
        self._published: Published | None = None
        self._open = 0

    def publish(self, published: Published) -> None:
        """Serve this from now on."""
        self._published = published

    async def start(self, address: str | None, port: int) -> asyncio.Server:
        """Listen at an address, None for all; raises :class:`OSError`."""
        return await asyncio.start_server(self._serve, address, port, limit=_CHUNK)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._open += 1
        # What is sent is with the kernel, or counts as not taken: nothing stays in a
        # buffer of ours that would outlive the limits of connections and of time.
        writer.transport.set_write_buffer_limits(0)
        client = _Client(reader, writer, self._answer_seconds)
        try:
            if self._open > self._connections:
                busy = _error(503, "Too many connections", ("Retry-After", "1"))
                await client.send(busy, closes=True)
            else:
                await self._converse(client)
        except (OSError, TimeoutError, h11.ProtocolError):
            # It went, takes nothing, or spoke out of turn: there is nobody to tell.
            writer.transport.abort()
        except Exception:
            logging.exception("a fault while serving a request")
            writer.transport.abort()
        finally:
            self._open -= 1
            writer.close()

    async def _converse(self, client: "_Client") -> None:
        while True:
            request = None
            try:
                async with asyncio.timeout(self._head_seconds):
                    request = await client.request()
                if request is None:
                    return
                answer = await self._answer(request)
            except TimeoutError:
                if not client.began:
                    return
                answer = _error(408, "The request takes too long")
            except h11.RemoteProtocolError as err:
                answer = _error(err.error_status_hint, "Not a request of HTTP")
            if request is None or answer.status == 405 or _has_body(request):
                await client.send(answer, closes=True)
                await client.drain()
                return
            await client.send(answer)
            if not client.next():
                return

    async def _answer(self, request: h11.Request) -> _Answer:
        if request.method not in (b"GET", b"HEAD"):
            return _error(405, "Only GET and HEAD", ("Allow", "GET, HEAD"))
        path = _path(request.target.decode("ascii", "replace"))
        if path in _FIXED:
            return _Answer(200, _FIXED[path])
        if self._published is None:
            return _error(503, "Nothing was read yet", ("Retry-After", "1"))
        body = self._published.bodies.get(path)
        if body is None and path.startswith("/1/report/"):
            theirs = await self._monitor.report(path)
            if theirs is not None:
                return _Answer(200, Body(_JSON, json.dumps(theirs).encode()))
            return _error(404, "Unable to produce a report for the requested resource")
        if body is None:
            return _error(404, "Resource not found")
        if path == mond.LIST:
            body = _joined(await self._monitor.collectors(), body)
        elif path == mond.ALL:
            body = _joined(await self._monitor.reports(), body)
        age = max(0, math.floor(self._clock() - self._published.taken))
        return _Answer(200, body, (("Age", str(age)),))


def _path(target: str) -> str:
    """Return the path that a request asks for, without a query and in one form."""
    if target.startswith(("http://", "https://")):
        _, slash, rest = target.partition("://")[2].partition("/")
        target = slash + rest
    return target.partition("?")[0].rstrip("/") or "/"


def _has_body(request: h11.Request) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in request.headers
    )


def _joined(theirs: list[Any], ours: Body) -> Body:
    """Return two lists in JSON as one; ours is long, and neither read nor copied."""
    if not theirs:
        return ours
    before = json.dumps(theirs).encode()[:-1] + b","
    return Body(ours.kind, memoryview(ours.content)[1:], before=before)


class _Client:
    """One connection: its requests one after the other, and what it is answered."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answer_seconds: float,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._answer_seconds = answer_seconds
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        #: Whether a part of the next request is there.
        self.began = False
        self._method = b""

    async def request(self) -> h11.Request | None:
        """Return the next request, None if no more comes.

        Raises :class:`h11.RemoteProtocolError` for anything else.
        """
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                self._method = event.method
                return event
            if event is not h11.NEED_DATA:
                return None
            data = await self._reader.read(_PIECE)
            self.began = self.began or bool(data)
            self._http.receive_data(data)

    def next(self) -> bool:
        """Be ready for the next request; tell whether there may be one."""
        # The end of the one before, which had no body.
        self._http.next_event()
        if self._http.our_state is not h11.DONE:
            return False
        if self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        # What is no request gets an answer with a body, whatever the last one was.
        self._method = b""
        self.began = bool(self._http.trailing_data[0])
        return True

    async def send(self, answer: _Answer, closes: bool = False) -> None:
        """Send an answer; raises :class:`TimeoutError` if it is not taken."""
        headers = [
            ("Date", email.utils.formatdate(usegmt=True)),
            ("Content-Type", answer.body.kind),
            ("Content-Length", str(len(answer.body.before) + len(answer.body.content))),
            *answer.body.headers,
            *answer.headers,
        ]
        if closes:
            headers.append(("Connection", "close"))
        async with asyncio.timeout(self._answer_seconds):
            await self._write(h11.Response(status_code=answer.status, headers=headers))
            if self._method != b"HEAD":
                for part in (answer.body.before, answer.body.content):
                    for start in range(0, len(part), _CHUNK):
                        # Only so much at a time is kept for one that reads slowly.
                        chunk = memoryview(part)[start : start + _CHUNK]
                        await self._write(h11.Data(data=bytes(chunk)))
            await self._write(h11.EndOfMessage())

    async def _write(self, event: Any) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)
            await self._writer.drain()

    async def drain(self) -> None:
        """Take what the client still sends, so that it gets to read its answer."""
        self._writer.write_eof()
        taken = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while taken < _LINGER and (data := await self._reader.read(_CHUNK)):
                    taken += len(data)
