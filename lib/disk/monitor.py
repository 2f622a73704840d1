"""A running QEMU's monitor, through the connection of Ganeti 3.0 or 3.1."""

import contextlib
import socket
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganeti_ceph.secret import Secret

#: What SO_PEERCRED tells of the other side: its process, user and group.
_PEER = struct.Struct("3i")


class Monitor:
    """Commands to a running QEMU over a connection of Ganeti's, closed in between.

    QEMU takes one connection at a time; Ganeti's own commands shall find it free.
    """

    def __init__(self, connection: Any, patience: int | None = None) -> None:
        """Take a connection; Ganeti, too, will wait ``patience`` seconds on it."""
        self._connection = connection
        # Ganeti 3.1 has given its methods and attributes other names.
        self._is_new = hasattr(connection, "execute_qmp")
        if patience is not None:
            name = "timeout" if self._is_new else "_SOCKET_TIMEOUT"
            setattr(connection, name, patience)

    def run(self, command: str, **arguments: Any) -> Any:
        """Run a command and return its answer; Ganeti may log both.

        Raises Ganeti's ``HypervisorError``.
        """
        with self._open() as connection:
            execute = connection.execute_qmp if self._is_new else connection.Execute
            return execute(command, arguments or None)

    @contextlib.contextmanager
    def secret(self, text: Secret) -> Iterator[str]:
        """Let QEMU know a text in base64 for a while, and give its name there."""
        # One that a killed node daemon left behind must not be in the way.
        name = f"key-{uuid.uuid4()}"
        self._whisper(
            "object-add",
            {
                "qom-type": "secret",
                "id": name,
                "data": text.reveal(),
                "format": "base64",
            },
        )
        try:
            yield name
        finally:
            self.run("object-del", id=name)

    def can_read(self, path: str) -> bool:
        """Tell whether the QEMU could open a file now that it gave up its rights."""
        with self._open() as connection:
            credentials = connection.sock.getsockopt(
                socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size
            )
        pid, _, _ = _PEER.unpack(credentials)
        process = Path(f"/proc/{pid}")
        if str((process / "root").readlink()) != "/":
            return False
        if process.stat().st_uid == 0:
            return True
        try:
            return bool(Path(path).stat().st_mode & 0o004)
        except FileNotFoundError:
            return False

    def _whisper(self, command: str, arguments: dict[str, Any]) -> None:
        """Run a command past Ganeti's logging."""
        from ganeti.hypervisor.hv_kvm.monitor import QmpMessage

        message = QmpMessage({"execute": command, "arguments": arguments})
        with self._open() as connection:
            if self._is_new:
                connection.send_qmp(message)
                connection.get_qmp_response(command)
            else:
                connection._Send(message)
                connection._GetResponse(command)

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        self._connection.connect()
        try:
            yield self._connection
        finally:
            self._connection.close()
            # Ganeti 3.1 believes that it never connected, and leaves it open.
            self._connection.sock.close()


def of(hypervisor: Any, name: str, patience: int | None = None) -> Monitor:
    """Return the monitor of a running instance."""
    from ganeti.hypervisor import hv_kvm

    # The hypervisor may have a connection that Ganeti 3.1 left open.
    connection = getattr(hypervisor, "qmp", None) or hv_kvm.QmpConnection(
        hypervisor._InstanceQmpMonitor(name)
    )
    return Monitor(connection, patience)
