"""Images of the storage cluster through librbd: made, looked at, changed, removed.

Every function connects for itself (see :func:`together`) and is bounded as
:func:`ganeti_ceph.ceph.connect` is.  What fails raises
:class:`ganeti_ceph.errors.CephError`, whose message ends a sentence that the caller
began.
"""

import contextlib
import contextvars
import dataclasses
import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import rados
import rbd

from ganeti_ceph import ceph
from ganeti_ceph.disk.options import FEATURES, USUAL_FEATURES, DiskOptions
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import CephError

#: How much is read or written at a time, the usual size of an image's objects.
CHUNK = 4 * 1024**2

_BITS = {
    name: getattr(rbd, f"RBD_FEATURE_{name.upper().replace('-', '_')}")
    for name in FEATURES
}
_DATA_POOL = ("data-pool", rbd.RBD_FEATURE_DATA_POOL)

#: Seconds after which Ceph takes a client that is gone for dead.
_FORGOTTEN = 30


@dataclasses.dataclass(frozen=True)
class ImageFacts:
    """What there is to know of an image; sizes are in bytes."""

    size: int
    #: How much of it has been written, in whole objects.
    used: int
    features: tuple[str, ...]
    #: Addresses of the hosts that have it open, one for each client.
    watchers: tuple[str, ...]
    snapshots: tuple[str, ...]
    metadata: tuple[tuple[str, str], ...]


def create(volume: Volume, size: int, options: DiskOptions) -> None:
    """Make an image of ``size`` bytes, all zero; never touches one that exists."""
    names = USUAL_FEATURES if options.features is None else options.features
    order = options.object_size.bit_length() - 1 if options.object_size else None
    with together(), _pool(volume, "create") as pool:
        if options.data_pool:
            _check_pool(volume, options.data_pool)
        try:
            rbd.RBD().create(
                pool,
                volume.image,
                size,
                order=order,
                old_format=False,
                features=sum(_BITS[name] for name in names),
                stripe_unit=options.stripe_unit,
                stripe_count=options.stripe_count,
                data_pool=options.data_pool or None,
            )
        except rbd.ImageExists:
            raise CephError(
                f"the image {volume} exists already and was left as it is; remove it"
                f" with 'rbd rm {volume}' if no instance needs it",
                errno.EEXIST,
            ) from None


def size(volume: Volume) -> int | None:
    """Return an image's size in bytes, None if there is no such image."""
    with _pool(volume, "open") as pool:
        try:
            with rbd.Image(pool, volume.image, read_only=True) as image:
                return int(image.size())
        except rbd.ImageNotFound:
            return None


def features(volume: Volume) -> tuple[str, ...]:
    """Return the names of an image's features."""
    with _image(volume, "open", read_only=True) as image:
        return _features(image)


def look(volume: Volume) -> ImageFacts | None:
    """Return all there is to know of an image, None if there is no such image."""
    with _pool(volume, "open") as pool:
        try:
            with rbd.Image(pool, volume.image, read_only=True) as image:
                return ImageFacts(
                    size=int(image.size()),
                    used=_used(image),
                    features=_features(image),
                    watchers=_watchers(image),
                    snapshots=_snapshots(image),
                    metadata=tuple(sorted(image.metadata_list())),
                )
        except rbd.ImageNotFound:
            return None


def names(volume: Volume) -> frozenset[str]:
    """Return the names of all images beside this one, in one question."""
    with _pool(volume, "list the images beside") as pool:
        return frozenset(rbd.RBD().list(pool))


def describe(volume: Volume, metadata: Mapping[str, str]) -> None:
    """Write down with an image what it is for."""
    with _image(volume, "describe") as image:
        present = dict(image.metadata_list())
        for name, value in metadata.items():
            if present.get(name) != value:
                image.metadata_set(name, value)


def grow(volume: Volume, size: int) -> int:
    """Grow an image to ``size`` bytes; return its size, larger if it was before."""
    with _image(volume, "grow") as image:
        present = int(image.size())
        if present < size:
            image.resize(size)
        return max(present, size)


def remove(volume: Volume, grace: int = 0) -> None:
    """Remove an image that nobody holds; one that is not there is no failure.

    With ``grace``, in seconds, it stays in Ceph's trash for so long.
    """
    with _pool(volume, "remove") as pool:
        try:
            # Read-only, so that this look is no watcher itself.
            with rbd.Image(pool, volume.image, read_only=True) as image:
                holders = _holders(volume, image)
            if holders:
                raise holders
            if grace:
                rbd.RBD().trash_move(pool, volume.image, grace)
            else:
                rbd.RBD().remove(pool, volume.image)
        except rbd.ImageNotFound:
            return
        except rbd.ImageBusy:
            # Opened since the look.
            raise _in_use(volume, ()) from None


def wipe(volume: Volume, offset: int, length: int) -> None:
    """Make a part of an image read as zeroes, and give its space back."""
    with _image(volume, "wipe") as image:
        for start in range(offset, offset + length, CHUNK):
            image.write_zeroes(start, min(CHUNK, offset + length - start))


def read(volume: Volume) -> Iterator[bytes]:
    """Give the whole content of an image in pieces."""
    with _image(volume, "read", read_only=True) as image:
        total = int(image.size())
        for start in range(0, total, CHUNK):
            yield image.read(start, min(CHUNK, total - start))


def write(volume: Volume, pieces: Iterable[bytes]) -> None:
    """Write pieces one after the other into an image, from its start.

    Zeroes take no space.  What follows after the last piece stays.
    """
    with _image(volume, "write") as image:
        room = int(image.size())
        offset = 0
        for piece in pieces:
            if offset + len(piece) > room:
                raise CephError(
                    f"the data does not fit into the image {volume} of {room} bytes;"
                    " take a larger disk",
                    errno.EFBIG,
                )
            if piece.strip(b"\0"):
                image.write(piece, offset)
            else:
                image.write_zeroes(offset, len(piece))
            offset += len(piece)
        image.flush()


_shared: contextvars.ContextVar[
    tuple[contextlib.ExitStack, dict[tuple[str, str], rados.Rados]] | None
] = contextvars.ContextVar("shared", default=None)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Let all functions that are called within the block share their connections."""
    if _shared.get() is not None:
        yield
        return
    with contextlib.ExitStack() as stack:
        token = _shared.set((stack, {}))
        try:
            yield
        finally:
            _shared.reset(token)


@contextlib.contextmanager
def _cluster(volume: Volume) -> Iterator[rados.Rados]:
    shared = _shared.get()
    if shared is None:
        with ceph.connect(volume.conf, volume.client) as cluster:
            yield cluster
        return
    stack, open_ones = shared
    key = (volume.conf, volume.client)
    if key not in open_ones:
        open_ones[key] = stack.enter_context(ceph.connect(*key))
    yield open_ones[key]


@contextlib.contextmanager
def _pool(volume: Volume, verb: str) -> Iterator[Any]:
    with _cluster(volume) as cluster:
        try:
            with cluster.open_ioctx(volume.pool) as pool:
                if volume.namespace:
                    pool.set_namespace(volume.namespace)
                    if not rbd.RBD().namespace_exists(pool, volume.namespace):
                        raise CephError(
                            f"the pool {volume.pool} has no namespace"
                            f" {volume.namespace}; create it with 'rbd namespace"
                            f" create {volume.pool}/{volume.namespace}'",
                            errno.ENOENT,
                        )
                yield pool
        except rados.ObjectNotFound as err:
            raise _no_pool(volume.pool) from err
        except (rbd.Error, rados.Error) as err:
            number = getattr(err, "errno", None) or errno.EIO
            raise CephError(
                f"cannot {verb} the image {volume}:"
                f" {_reason(cluster, volume, abs(number))}",
                abs(number),
            ) from err


def _check_pool(volume: Volume, name: str) -> None:
    with _cluster(volume) as cluster:
        if not cluster.pool_exists(name):
            raise _no_pool(name)


def _no_pool(name: str) -> CephError:
    return CephError(
        f"the storage cluster has no pool {name}; create it or name another one"
        " ('gnt-cluster modify -D rbd:pool=NAME')",
        errno.ENOENT,
    )


def _reason(cluster: rados.Rados, volume: Volume, number: int) -> str:
    """Say what an error's number means here."""
    if number in (errno.EPERM, errno.EACCES):
        return (
            f"{volume.client} may not do that in the pool {volume.pool} ('ceph auth"
            f" get {volume.client}' shows what it may)"
        )
    # Ceph lets clients of a full pool wait for space rather than fail.
    short = number in (errno.ETIMEDOUT, errno.ENOSPC, errno.EDQUOT)
    if short and (full := _what_is_full(cluster)):
        return full
    if number == errno.ETIMEDOUT:
        return f"no answer within {ceph.TIMEOUT} s; look at 'ceph -s'"
    return os.strerror(number)


def _what_is_full(cluster: rados.Rados) -> str:
    with contextlib.suppress(CephError):
        checks = ceph.command(cluster, "health", detail="detail")["checks"]
        for name in ("POOL_FULL", "OSD_FULL"):
            if name in checks:
                details = checks[name].get("detail") or [checks[name]["summary"]]
                return "; ".join(detail["message"] for detail in details)
    return ""


@contextlib.contextmanager
def _image(volume: Volume, verb: str, read_only: bool = False) -> Iterator[Any]:
    with _pool(volume, verb) as pool:
        with rbd.Image(pool, volume.image, read_only=read_only) as image:
            yield image


def _features(image: Any) -> tuple[str, ...]:
    bits = image.features()
    return tuple(
        name for name, bit in (*_BITS.items(), _DATA_POOL) if bits & bit == bit
    )


def _used(image: Any) -> int:
    total = 0

    def add(_: int, length: int, exists: bool) -> None:
        nonlocal total
        total += length if exists else 0

    # With the feature fast-diff this reads the object map only.
    image.diff_iterate(0, image.size(), None, add, whole_object=True)
    return total


def _snapshots(image: Any) -> tuple[str, ...]:
    return tuple(snapshot["name"] for snapshot in image.list_snaps())


def _watchers(image: Any) -> tuple[str, ...]:
    addresses = sorted({watcher["addr"] for watcher in image.watchers_list()})
    return tuple(address.rpartition(":")[0].strip("[]") for address in addresses)


def _holders(volume: Volume, image: Any) -> CephError | None:
    """Return why an image may not be removed, by whom it is held."""
    if watchers := _watchers(image):
        return _in_use(volume, watchers)
    # Those of all snapshots, also of one that was removed and lives on for its clones.
    clones = [_clone(child) for child in image.list_children2()]
    if clones:
        return CephError(
            f"the image {volume} has the clones {', '.join(sorted(clones))}; remove"
            " them or make them independent ('rbd flatten') first",
            errno.ENOTEMPTY,
        )
    if snapshots := _snapshots(image):
        return CephError(
            f"the image {volume} has the snapshots {', '.join(snapshots)}; remove them"
            f" first ('rbd snap rm {volume}@NAME', 'rbd snap purge {volume}')",
            errno.ENOTEMPTY,
        )
    return None


def _clone(child: dict[str, Any]) -> str:
    path = (child["pool"], child["pool_namespace"], child["image"])
    return "/".join(filter(None, path)) + (" (in the trash)" if child["trash"] else "")


def _in_use(volume: Volume, hosts: Iterable[str]) -> CephError:
    at = f" at {', '.join(sorted(set(hosts)))}" if hosts else ""
    return CephError(
        f"the image {volume} is in use{at}; stop what has it open there (a crashed"
        f" client is forgotten after {_FORGOTTEN} s)",
        errno.EBUSY,
    )
