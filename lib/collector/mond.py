"""Asks the monitoring agent of Ganeti's that runs on this node, mond."""

import argparse
import asyncio
import json
import shlex
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import h11

#: Its paths that ours have, too.
LIST = "/1/list/collectors"
ALL = "/1/report/all"

#: Where mond is if nobody said otherwise.
ADDRESS = "127.0.0.1"
PORT = 1815

#: Seconds that an answer may take, for which it is good, and for which it is not asked
#: again for what failed.
SECONDS = 1.0
FRESH = 1.0
PATIENCE = 60.0
#: Bytes that an answer of it may have.
LARGEST = 4 * 2**20

_CHUNK = 64 * 1024


def default_port() -> int:
    """Return the port on which mond listens by itself."""
    try:
        return socket.getservbyname("ganeti-mond", "tcp")
    except OSError:
        return PORT


def arguments(text: str) -> tuple[str | None, int | None]:
    """Return the address and the port that mond's options (``MOND_ARGS``) name."""
    parser = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False
    )
    parser.add_argument("-b")
    parser.add_argument("-p", type=int)
    try:
        found, _ = parser.parse_known_args(shlex.split(text))
    except (argparse.ArgumentError, ValueError):
        # It does not start with such ones.
        return None, None
    return found.b, found.p


class Monitor:
    """What mond says; lives in one event loop."""

    def __init__(
        self,
        address: str = ADDRESS,
        port: int = PORT,
        seconds: float = SECONDS,
        fresh: float = FRESH,
        patience: float = PATIENCE,
    ) -> None:
        """Ask at an address; ``seconds`` bound an answer, ``fresh`` its use.

        What failed is asked for again after ``patience`` seconds.
        """
        self._address = address
        self._port = port
        self._seconds = seconds
        self._fresh = fresh
        self._patience = patience
        #: Until when not to ask, by path.
        self._failed: dict[str, float] = {}
        #: By path, when it was asked and what it said.
        self._said: dict[str, tuple[float, Any]] = {}
        self._asking = asyncio.Lock()

    async def collectors(self) -> list[Any]:
        """Return the list of mond's collectors; nothing if it does not answer."""
        found: list[Any] = await self._fresh_enough(LIST, self._collectors)
        return found

    async def reports(self) -> list[Any]:
        """Return mond's reports; nothing if it does not answer."""
        found: list[Any] = await self._fresh_enough(ALL, self._reports)
        return found

    async def report(self, path: str) -> dict[str, Any] | None:
        """Return the report at a path, None if mond lists none there or has none."""
        if path not in _paths(await self.collectors()):
            return None
        found = await self._fresh_enough(path, lambda: self._try(path))
        return found if isinstance(found, dict) else None

    async def _fresh_enough(self, path: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        async with self._asking:
            at, said = self._said.get(path, (float("-inf"), None))
            if time.monotonic() - at > self._fresh:
                said = await ask()
                self._said[path] = time.monotonic(), said
            return said

    async def _collectors(self) -> list[Any]:
        found = await self._try(LIST)
        return found if isinstance(found, list) else []

    async def _reports(self) -> list[Any]:
        found = await self._try(ALL)
        if isinstance(found, list):
            return found
        # It has none for anybody as soon as one of its collectors fails, as the one
        # for DRBD does on a node without DRBD.
        paths = _paths(await self._collectors())
        reports = await asyncio.gather(*(self._try(path) for path in paths))
        return [one for one in reports if isinstance(one, dict)]

    async def _try(self, path: str) -> Any:
        """Return what mond has at a path, None if that is no good.

        What failed is left alone for a while: mond may still be at it.
        """
        if time.monotonic() < self._failed.get(path, 0.0):
            return None
        try:
            async with asyncio.timeout(self._seconds):
                return json.loads(await self._fetch(path))
        except (TimeoutError, h11.ProtocolError, ValueError):
            self._failed[path] = time.monotonic() + self._patience
        except OSError:
            # It does not run, which costs nobody anything.
            pass
        return None

    async def _fetch(self, path: str) -> bytes:
        """Return what mond has at a path.

        Raises :class:`OSError`, :class:`h11.ProtocolError` or :class:`ValueError`.
        """
        reader, writer = await asyncio.open_connection(self._address, self._port)
        try:
            http = h11.Connection(h11.CLIENT)
            headers = [("Host", "localhost"), ("Connection", "close")]
            asked = h11.Request(method="GET", target=path, headers=headers)
            writer.write(
                (http.send(asked) or b"") + (http.send(h11.EndOfMessage()) or b"")
            )
            found = bytearray()
            while True:
                said = http.next_event()
                if said is h11.NEED_DATA:
                    http.receive_data(await reader.read(_CHUNK))
                elif isinstance(said, h11.Response) and said.status_code != 200:
                    raise ValueError(f"status {said.status_code}")
                elif isinstance(said, h11.Data):
                    found += said.data
                    if len(found) > LARGEST:
                        raise ValueError("too long an answer")
                elif isinstance(said, h11.EndOfMessage):
                    return bytes(found)
                elif isinstance(said, h11.ConnectionClosed):
                    raise ValueError("no answer")
        finally:
            writer.close()


def _paths(collectors: list[Any]) -> list[str]:
    """Return where the reports of mond's collectors are."""
    return [
        f"/1/report/{one[1] or 'default'}/{one[0]}"
        for one in collectors
        if isinstance(one, list) and len(one) == 3
    ]
