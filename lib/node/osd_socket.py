"""What this node's OSDs say over their admin sockets: no key, no mon, no program."""

import json
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ganeti_ceph.errors import ExecError

Answer = TypeVar("Answer")

_SOCKETS = Path("/var/run/ceph")
#: Seconds for an OSD to answer.
_PATIENCE = 3
_AT_A_TIME = 8


def find() -> list[Path]:
    """Return the sockets behind which there are OSDs, in a fixed order."""
    return [one for one in sorted(_SOCKETS.glob("ceph-osd.*.asok")) if _listens(one)]


def ask_each(
    sockets: list[Path], question: Callable[[Path], Answer], aim: str
) -> dict[Path, Answer]:
    """Put a question to many OSDs at the same time; return the answers that there are.

    ``aim`` ends the sentence "ganeti-ceph cannot", which is logged of each other one.
    """

    def one(path: Path) -> tuple[Path, Answer] | None:
        try:
            return path, question(path)
        except (ExecError, LookupError, TypeError, ValueError) as err:
            logging.warning("ganeti-ceph cannot %s: %s", aim, err)
            return None

    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        return dict(filter(None, threads.map(one, sockets)))


def ask(path: Path, prefix: str, **arguments: Any) -> Any:
    """Give an OSD a command and return what it answers; raises :class:`ExecError`.

    JSON and a zero byte go there, a length and JSON come back.  Ceph's own function for
    it asks for all commands first, each time, and an instance that starts waits for
    this.
    """
    request = json.dumps({"prefix": prefix, "format": "json", **arguments}).encode()
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(str(path))
            connection.sendall(request + b"\0")
            stream = connection.makefile("rb")
            length = int.from_bytes(stream.read(4), "big")
            return json.loads(stream.read(length))
    except (OSError, ValueError) as err:
        raise ExecError(f"{path.name}: {prefix}: {err}") from err


def _listens(path: Path) -> bool:
    """Tell whether an OSD is behind a socket; one that ends leaves it there."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE)
        try:
            connection.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            # It has too much to do, or no right is had: one is there.
            return True
    return True
