"""How Ganeti's KVM hypervisor hands a disk to QEMU.

At its start QEMU opens the disks before it gives up its rights, and finds Ceph's
configuration and the user's key by itself.  A disk that is plugged in later is opened
by a process that may be in an empty root directory, under a user who can read no key,
or both.  So the node daemon, which can, looks up what is needed and tells QEMU.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from ganeti_ceph.disk import device, iothread, limits, login, mappers, options, uri
from ganeti_ceph.disk.login import Login
from ganeti_ceph.disk.monitor import Monitor
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import Error

#: Seconds that QEMU may take to open an image, during which it answers nothing.
_PATIENCE = 25

#: The end of what QEMU's monitor for humans prints: the command, an answer, a prompt.
_ANSWER = re.compile(r"\x1b\[K\n([^\x1b]+)\n\(qemu\) $")


def parse_uri(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Take every image that Ceph can name, where Ganeti takes few letters only."""
    (text,) = args
    volume = uri.parse(text)
    return wrapped(*args, **kwargs) if volume is None else volume.blockdev()


def block_device(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Give an rbd disk's options its own way of discarding, in Ganeti 3.1's form."""
    _, disk, _, _ = args
    told = wrapped(*args, **kwargs)
    return {**told, "discard": _discard(disk)} if device.is_rbd(disk) else told


def start(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Give rbd disks that QEMU starts with what Ganeti has no options for."""
    words = wrapped(*args, **kwargs)
    (_, disks, _, _) = args
    if "-drive" in words:
        _change_drives(disks, words)
    return iothread.start([disk for disk, _, _ in disks], words)


def _change_drives(disks: Any, words: list[str]) -> None:
    """Have rbd disks' drives discard as they are told, in Ganeti 3.0's form.

    Those that get no name there (IDE) get one, for their limits.
    """
    places = [place for place, word in enumerate(words, 1) if word == "-drive"]
    for place, (disk, _, _) in zip(places, disks, strict=True):
        if not device.is_rbd(disk):
            continue
        if ",id=" not in words[place]:
            words[place] += f",id={disk.hvinfo['id']}"
        # Of an option that is given twice QEMU takes the last.
        words[place] += f",discard={_discard(disk)}"


def plug_node(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Plug a disk in with all that QEMU needs to open it, in Ganeti 3.1's way."""
    disk, access, writeback, direct, node = args
    if not device.is_rbd(disk):
        return wrapped(*args, **kwargs)
    qemu = Monitor(instance, _PATIENCE)
    iothread.plug(disk, qemu)
    if device.is_userspace(disk):
        with _opening(disk, qemu) as driver:
            wrapped(disk, access, writeback, direct, {**node, "file": driver})
    else:
        wrapped(*args, **kwargs)
    _limit(disk, node["node-name"], qemu)
    return None


def plug_drive(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Plug a disk in with all that QEMU needs to open it, in Ganeti 3.0's way.

    There a drive is added by a command line of QEMU's monitor for humans.
    """
    disk, name, path, add_drive = args
    if not device.is_rbd(disk):
        return wrapped(*args, **kwargs)
    qemu = Monitor(instance, _PATIENCE)
    iothread.plug(disk, qemu)
    if device.is_userspace(disk):
        with _opening(disk, qemu) as driver:
            wrapped(disk, name, _as_file(disk, driver), add_drive)
    else:
        # Ganeti opens the device and names QEMU the open file, which for QEMU is no
        # block device unless it is told so.
        def add_device(filename: str) -> None:
            opened = {"driver": "host_device", "filename": filename}
            add_drive(_as_file(disk, opened))

        wrapped(disk, name, path, add_device)
    _limit(disk, name, qemu)
    return None


def check_answer(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Fail when QEMU's monitor for humans says that it cannot add our drive."""
    from ganeti import errors

    result = wrapped(*args, **kwargs)
    command = args[1]
    if command.startswith("drive_add dummy file=json:"):
        # It repeats what was typed, letter by letter, answers, and prompts again;
        # Ganeti does not wait for that for long.
        answer = _ANSWER.search(result.stdout.replace("\r", ""))
        if answer and answer[1] != "OK":
            raise errors.HypervisorError(f"QEMU cannot open the disk: {answer[1]}")
    return result


def driver(
    volume: Volume, known: Login, secret: str | None, conf_is_there: bool
) -> dict[str, Any]:
    """Return how a QEMU that finds no key by itself opens a volume.

    ``secret`` is the name of the key within QEMU.
    """
    told: dict[str, Any] = {**volume.blockdev(), "user": volume.user}
    if not conf_is_there:
        told.pop("conf", None)
    told["server"] = [{"host": host, "port": str(port)} for host, port in known.mons]
    if known.methods:
        told["auth-client-required"] = list(known.methods)
    if secret:
        told["key-secret"] = secret
    return told


@contextlib.contextmanager
def _opening(disk: Any, qemu: Monitor) -> Iterator[dict[str, Any]]:
    """Give the options with which QEMU can open a disk's image during the block."""
    from ganeti import errors

    try:
        volume = device.volume_of(disk)
        # A block device that somebody asked for would be a second way to it.
        mappers.unmap(volume)
        known = login.read(volume.user, volume.conf)
    except Error as err:
        raise errors.HypervisorError(str(err)) from err
    conf_is_there = qemu.can_read(volume.conf)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_explaining())
        secret = None
        if known.key is not None:
            secret = stack.enter_context(qemu.secret(known.key))
        yield driver(volume, known, secret, conf_is_there)


@contextlib.contextmanager
def _explaining() -> Iterator[None]:
    """Say what to do where QEMU has no rbd driver and can load it no more."""
    from ganeti import errors

    try:
        yield
    except errors.HypervisorError as err:
        if "Unknown driver 'rbd'" not in str(err):
            raise
        raise errors.HypervisorError(
            "QEMU cannot load its rbd driver any more, because it runs in a chroot and"
            " was started without a disk that needs the driver; stop and start the"
            " instance"
        ) from err


def _discard(disk: Any) -> str:
    return options.read(disk.params).discard.value


def _limit(disk: Any, name: str, qemu: Monitor) -> None:
    if limits.of(disk) != limits.Limits():
        limits.apply(qemu, name, limits.of(disk))


def _as_file(disk: Any, driver: dict[str, Any]) -> str:
    """Return a driver's options as the value of ``file`` of QEMU's monitor."""
    node = {"driver": "raw", "discard": _discard(disk), "file": driver}
    # A blank would end it, and a comma the value.
    text = json.dumps(node, separators=(",", ":"))
    return f"json:{text}".replace(",", ",,")
