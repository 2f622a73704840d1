"""QEMU's storage daemon, which shows an image as a file, and a loop device on it.

Each image has a directory of its own in :data:`ROOT`, with the file, the daemon's
number, and which loop device it is.
"""

import contextlib
import hashlib
import json
import os
import select
import shutil
import signal
import socket
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ganeti_ceph.disk import uri
from ganeti_ceph.disk.mappers import base, loop
from ganeti_ceph.disk.mappers.base import Mapped
from ganeti_ceph.disk.options import Mapper
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import ExecError
from ganeti_ceph.node import files
from ganeti_ceph.run import Runner

#: What belongs to the mapped images; root's alone.
ROOT = files.SCRATCH / "map"

_DAEMON = "qemu-storage-daemon"
#: Seconds that a daemon may take to write what it still has, and end.
_PATIENCE = 15


class Fuse:
    """Maps images through QEMU's storage daemon."""

    name: ClassVar[Mapper] = Mapper.FUSE

    def mapped(self, run: Runner) -> Iterator[Mapped]:
        """Give the images that have a daemon and a loop device."""
        try:
            places = sorted(
                (entry for entry in os.scandir(ROOT) if entry.is_dir()),
                key=lambda entry: entry.name,
            )
        except FileNotFoundError:
            return
        for place in places:
            state = _State(Path(place.path))
            if device := state.device():
                yield Mapped(state.image, device, conf=state.conf)

    def check(self, volume: Volume, features: Sequence[str], run: Runner) -> None:
        """Look for the program and the drivers; librbd knows all features."""
        if not shutil.which(_DAEMON):
            raise ExecError(f"the program {_DAEMON} is not installed")
        base.need_driver(base.DEV / "fuse", "fuse", run)
        base.need_driver(base.DEV / "loop-control", "loop", run)

    def map(self, volume: Volume, seconds: int, run: Runner) -> str:
        """Start a daemon, which goes on in the background, and add a loop device."""
        state = _State.of(volume)
        state.clear(run)
        try:
            state.make()
            command = ["env", f"CEPH_ARGS=--client_mount_timeout={seconds}"]
            command += _daemon_command(state, volume)
            run(command, timeout=seconds + 2)
            device = loop.attach(state.disk, run)
            files.write(state.loop, loop.identity(device), 0o600)
        except BaseException as err:
            with contextlib.suppress(ExecError, OSError):
                state.clear(run)
            if isinstance(err, ExecError):
                raise ExecError(base.said(err).rpartition("}: ")[2]) from None
            raise
        return device

    def unmap(self, volume: Volume, run: Runner) -> None:
        """Take the loop device away, and have the daemon write the rest and end."""
        _State.of(volume).clear(run)

    def resized(self, volume: Volume, size: int, run: Runner) -> None:
        """Have the daemon see the image's new size, and then the loop device."""
        state = _State.of(volume)
        if device := state.device():
            _tell(state.socket, "block_resize", {"node-name": "image", "size": size})
            # The kernel believes for a second what it knows of a file.
            base.wait(5, lambda: state.disk.stat().st_size == size, "the file")
            loop.grow(device, run)


class _State:
    """What is on this node of one image."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.disk = path / "disk"
        self.pid = path / "pid"
        self.loop = path / "loop"
        # A socket's path may not be long.
        short = hashlib.sha256(path.name.encode()).hexdigest()[:16]
        self.socket = path.with_name(f"{short}.qmp")
        image, _, conf = path.name.partition(",")
        self.image = urllib.parse.unquote(image)
        self.conf = urllib.parse.unquote(conf) or uri.CONF

    @classmethod
    def of(cls, volume: Volume) -> "_State":
        return cls(ROOT / key(volume))

    def make(self) -> None:
        self.path.mkdir(mode=0o700)
        self.disk.touch(mode=0o600)

    def device(self) -> str:
        """Return the loop device, "" unless all is there that it needs."""
        noted = base.read(self.loop) or ""
        device = f"/dev/{noted.partition(' ')[0]}"
        if (
            noted
            and loop.identity(device) == noted
            and loop.has(device, self.disk)
            and self._is_served()
        ):
            return device
        return ""

    def clear(self, run: Runner) -> None:
        """Take away all that is there, whatever is missing of it."""
        if not self.path.exists():
            return
        noted = base.read(self.loop)
        for device in loop.on(self.disk):
            if noted in (None, loop.identity(device)):
                loop.detach(device, run)
        # One that is only starting has another process, or a mount, at each look.
        while (daemons := self._daemons()) or self._is_mounted():
            for process in daemons:
                self._end(process)
            if not daemons:
                run(["umount", str(self.disk)], timeout=_PATIENCE)
        self.socket.unlink(missing_ok=True)
        shutil.rmtree(self.path)

    def _is_served(self) -> bool:
        process = base.read(self.pid) or ""
        return process.isdigit() and self._is_daemon(base.PROC / process)

    def _is_mounted(self) -> bool:
        mounts = (base.PROC / "self/mountinfo").read_text().splitlines()
        return any(line.split()[4] == str(self.disk) for line in mounts)

    def _daemons(self) -> list[Path]:
        # Also those that have not come to writing their number.
        return [one for one in base.PROC.glob("[0-9]*") if self._is_daemon(one)]

    def _is_daemon(self, process: Path) -> bool:
        words = (base.read(process / "cmdline") or "").split("\0")
        return Path(words[0]).name in (_DAEMON, "env") and str(self.pid) in words

    def _end(self, process: Path) -> None:
        # Without a file it has served nobody yet, and may wait for the mons.
        how = signal.SIGTERM if self._is_mounted() else signal.SIGKILL
        try:
            handle = os.pidfd_open(int(process.name))
        except ProcessLookupError:
            return
        try:
            if not self._is_daemon(process):
                return
            signal.pidfd_send_signal(handle, how)
            if not select.select([handle], [], [], _PATIENCE)[0]:
                raise ExecError(
                    f"the {_DAEMON} of the image (process {process.name}) did not end"
                    f" within {_PATIENCE} s; does the storage cluster answer?"
                )
        finally:
            os.close(handle)


def key(volume: Volume) -> str:
    """Return a file name for an image, from which its own is to be had again.

    >>> key(Volume("rbd", "web.rbd.disk0"))
    'rbd%2Fweb.rbd.disk0'
    """
    image = urllib.parse.quote(str(volume), safe="")
    if volume.conf == uri.CONF:
        return image
    return f"{image},{urllib.parse.quote(volume.conf, safe='')}"


def _daemon_command(state: _State, volume: Volume) -> list[str]:
    image = {**volume.blockdev(), "node-name": "image", "discard": "unmap"}
    export = {
        "type": "fuse",
        "id": "export",
        "node-name": "image",
        "mountpoint": str(state.disk),
        "writable": True,
        "allow-other": "off",
    }
    monitor = f"socket,id=monitor,path={state.socket},server=on,wait=off"
    return [
        *(_DAEMON, "--daemonize", "--pidfile", str(state.pid)),
        *("--chardev", monitor, "--monitor", "chardev=monitor"),
        *("--blockdev", json.dumps(image), "--export", json.dumps(export)),
    ]


def _tell(path: Path, command: str, arguments: dict[str, Any]) -> None:
    """Have a daemon run a command of QEMU's machine protocol."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(str(path))
            with connection.makefile("rw", encoding="utf-8") as stream:
                stream.readline()  # the greeting
                _ask(stream, {"execute": "qmp_capabilities"})
                _ask(stream, {"execute": command, "arguments": arguments})
    except (OSError, ValueError) as err:
        raise ExecError(f"{_DAEMON} does not answer: {err}") from None


def _ask(stream: Any, request: dict[str, Any]) -> None:
    stream.write(json.dumps(request) + "\n")
    stream.flush()
    while "return" not in (answer := json.loads(stream.readline())):
        if "error" in answer:
            raise ExecError(f"{_DAEMON}: {answer['error']['desc']}")
