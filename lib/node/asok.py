"""A daemon's admin socket, on which it answers also while there is no quorum."""

import json
import socket
import struct
from typing import Any

from ganeti_ceph.node import files

_RUN = files.Path("/run/ceph")
_TIMEOUT = 5


def ask(daemon: str, prefix: str) -> Any:
    """Return the JSON answer of a daemon of this node, such as ``mon.node1``.

    Raises :class:`OSError` for one that does not answer (yet).
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT)
        connection.connect(str(_RUN / f"ceph-{daemon}.asok"))
        request = json.dumps({"prefix": prefix, "format": "json"})
        connection.sendall(request.encode() + b"\0")
        (length,) = struct.unpack(">I", _read(connection, 4))
        answer = _read(connection, length)
    try:
        return json.loads(answer)
    except ValueError:
        # Some commands answer in words.
        return answer.decode(errors="replace")


def _read(connection: socket.socket, length: int) -> bytes:
    answer = b""
    while len(answer) < length:
        part = connection.recv(length - len(answer))
        if not part:
            raise ConnectionResetError("a daemon closed its admin socket")
        answer += part
    return answer
