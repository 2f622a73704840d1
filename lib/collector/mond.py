"""Asks the monitoring agent of Ganeti's that runs on this node, mond."""

import asyncio
import json
import logging
import socket
import time
from typing import Any

import h11

#: Where mond is if nobody said otherwise.
PORT = 1815

#: Seconds that it may take, and for which what it said, or did not, is good.
SECONDS = 2.0
FRESH = 1.0
#: Bytes that an answer of it may have.
LARGEST = 4 * 2**20

_CHUNK = 64 * 1024


def default_port() -> int:
    """Return the port on which mond listens by itself."""
    try:
        return socket.getservbyname("ganeti-mond", "tcp")
    except OSError:
        return PORT


class Monitor:
    """What mond says; lives in one event loop."""

    def __init__(
        self,
        address: str = "127.0.0.1",
        port: int = PORT,
        seconds: float = SECONDS,
        fresh: float = FRESH,
    ) -> None:
        """Ask at an address; ``seconds`` bound an answer, ``fresh`` its use."""
        self._address = address
        self._port = port
        self._seconds = seconds
        self._fresh = fresh
        #: By path, when it was asked and what it said.
        self._said: dict[str, tuple[float, list[Any]]] = {}
        self._asking = asyncio.Lock()

    async def ask(self, path: str) -> list[Any]:
        """Return the list that mond has at a path; nothing if it does not answer."""
        async with self._asking:
            at, said = self._said.get(path, (float("-inf"), []))
            if time.monotonic() - at > self._fresh:
                said = await self._try(path)
                self._said[path] = time.monotonic(), said
            return said

    async def _try(self, path: str) -> list[Any]:
        try:
            async with asyncio.timeout(self._seconds):
                said = json.loads(await self._fetch(path))
        except (OSError, TimeoutError, h11.ProtocolError, ValueError) as err:
            # A node may do without it.
            logging.debug("mond does not answer: %s", err)
            return []
        return said if isinstance(said, list) else []

    async def _fetch(self, path: str) -> bytes:
        """Raises :class:`ValueError` for an answer that is no good."""
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
