"""What Ganeti's node daemon does with a device's path, for disks without one."""

import contextlib
import http.client
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from ganeti import backend, errors, utils
from ganeti.storage import bdev

from ganeti_ceph.disk import image, mappers, running
from ganeti_ceph.disk.device import ImageDevice, is_rbd, is_userspace, volume_of
from ganeti_ceph.errors import Error

#: Seconds that the server of a disk's image may stay silent.
_SILENCE = 60


def remove(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Fail where the storage cluster does not answer.

    Ganeti takes a disk that it cannot look at for one that is gone already.
    """
    (disk,) = args
    if not is_rbd(disk):
        return wrapped(*args, **kwargs)
    with image.together():
        with _failing_the_call(f"cannot remove {disk.iv_name}"):
            bdev.FindDevice(disk, [])
        return wrapped(*args, **kwargs)


def shutdown(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Unmap the image without a look at it: the storage cluster may be gone."""
    (disk,) = args
    if not is_rbd(disk):
        return wrapped(*args, **kwargs)
    with _failing_the_call(f"cannot deactivate {disk.iv_name}"):
        mappers.unmap(volume_of(disk))
    return None


def assemble(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Leave a disk that an instance runs with as it is."""
    disk, guest, _, _ = args
    running.set_access(guest.name, [disk])
    return wrapped(*args, **kwargs)


def open_all(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Leave the disks that an instance runs with as they are."""
    name, disks, _ = args
    running.set_access(name, disks)
    return wrapped(*args, **kwargs)


def gather(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Take block devices away that QEMU, which starts now, would be a rival to."""
    (guest,) = args
    for disk in filter(is_userspace, guest.disks_info):
        try:
            mappers.unmap(volume_of(disk))
        except Error as err:
            raise errors.BlockDeviceError(f"{disk.iv_name}: {err}") from err
    return wrapped(*args, **kwargs)


def wipe(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Write the zeroes through librbd where there is no block device."""
    disk, offset, size = args
    if not is_rbd(disk):
        return wrapped(*args, **kwargs)
    with _failing_the_call(f"cannot wipe {disk.iv_name}"):
        device = _find(disk)
        if device.dev_path:
            return wrapped(*args, **kwargs)
        if offset < 0 or size < 0 or offset + size > device.size:
            raise Error(f"{offset} to {offset + size} MiB are not within the disk")
        device.Wipe(offset, size)
    return None


def dump(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Write the image of a disk, a file or a URL, through librbd."""
    disk, source, size = args
    if not is_userspace(disk):
        return wrapped(*args, **kwargs)
    with _failing_the_call(f"cannot write {source} to {disk.iv_name}"):
        device = _find(disk)
        if size < 0 or size > device.size:
            raise Error(f"{size} MiB are not within the disk")
        image.write(device.volume, _pieces(source))
    return None


def convert(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Fail where the reader of the former disk fails.

    Ganeti's pipe tells only of the writer, which takes the end for the end of the disk;
    then the former disk is removed.
    """
    source, target = args
    if not is_rbd(source) and not is_rbd(target):
        return wrapped(*args, **kwargs)
    what = f"cannot convert {source.iv_name} from {source.dev_type} to"
    with _failing_the_call(f"{what} {target.dev_type}"):
        commands = [_any(source).Export(), _any(target).Import()]
        pipe = " | ".join(map(utils.ShellQuoteArgs, commands))
        result = utils.RunCmd(["bash", "-o", "pipefail", "-c", pipe])
        if result.failed:
            raise Error(f"{result.fail_reason}: {result.output.strip()}")
    return None


def refuse_no_path(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Fail rather than fill a file called "None" with zeroes."""
    target = args[1]
    if not target:
        raise backend.RPCFail(
            "this disk has no block device on the node to write to; use"
            " access=kernelspace for it"
        )
    return wrapped(*args, **kwargs)


def _find(disk: Any) -> ImageDevice:
    device = bdev.FindDevice(disk, [])
    if not isinstance(device, ImageDevice):
        raise Error("its image is missing")
    return device


def _any(disk: Any) -> Any:
    """Return the device of a disk of any template."""
    device = backend._RecursiveFindBD(disk)
    if device is None:
        raise Error(f"there is no device of the {disk.dev_type} disk {disk.uuid}")
    return device


def _pieces(source: str) -> Iterator[bytes]:
    if not utils.IsUrl(source):
        with open(source, "rb") as file:
            while piece := file.read(image.CHUNK):
                yield piece
        return
    # Ganeti allows http, https and ftp only.
    with urllib.request.urlopen(source, timeout=_SILENCE) as answer:  # noqa: S310
        promised = answer.headers.get("Content-Length")
        total = 0
        while piece := answer.read(image.CHUNK):
            total += len(piece)
            yield piece
    if promised is not None and total != int(promised):
        raise Error(f"the download ended after {total} of {promised} bytes")


@contextlib.contextmanager
def _failing_the_call(what: str) -> Iterator[None]:
    try:
        yield
    except (Error, errors.BlockDeviceError, OSError, http.client.HTTPException) as err:
        raise backend.RPCFail(f"{what}: {err}") from err
