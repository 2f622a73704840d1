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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import rados
import rbd

from ganeti_ceph import ceph
from ganeti_ceph.disk import silence
from ganeti_ceph.disk.options import (
    FEATURES,
    USUAL_FEATURES,
    DiskOptions,
    check_layout,
)
from ganeti_ceph.disk.uri import Place, Volume
from ganeti_ceph.errors import CephError, ExecError, UsageError
from ganeti_ceph.facts import ImageFacts

#: How much is read or written at a time, the usual size of an image's objects.
CHUNK = 4 * 1024**2

_BITS = {
    name: getattr(rbd, f"RBD_FEATURE_{name.upper().replace('-', '_')}")
    for name in FEATURES
}
_DATA_POOL = ("data-pool", rbd.RBD_FEATURE_DATA_POOL)

#: Those that Ceph sets by itself, for what an image was made with.
_OWN_BITS = (("striping", rbd.RBD_FEATURE_STRIPINGV2), _DATA_POOL)

#: Flags of an image whose object map is not to be relied on, as after a crash.
_INVALID = rbd.RBD_FLAG_FAST_DIFF_INVALID | rbd.RBD_FLAG_OBJECT_MAP_INVALID

#: How many images are opened at the same time.
_AT_A_TIME = 16

#: What is seen of an image.
Seen = TypeVar("Seen")

#: What the name of a copy ends with as long as it is not whole.
UNFINISHED = ".ganeti-copy"

#: What is added to the words of who waited before.
_AGAIN = "; that was just now, so it was not waited for so long again"

#: Seconds after which Ceph takes a client that is gone for dead.
_FORGOTTEN = 30


def create(volume: Volume, size: int, options: DiskOptions) -> None:
    """Make an image of ``size`` bytes, all zero; never touches one that exists."""
    names = USUAL_FEATURES if options.features is None else options.features
    order = options.object_size.bit_length() - 1 if options.object_size else None
    try:
        check_layout(options)
    except UsageError as err:
        raise CephError(
            f"cannot create the image {volume}: {err}", errno.EINVAL
        ) from None
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
            raise _exists(volume) from None


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
    with together(), _pool(volume, "open") as pool:
        try:
            with rbd.Image(pool, volume.image, read_only=True) as image:
                facts = look_inside(image)
                return dataclasses.replace(facts, data_pool=_data_pool(volume, image))
        except rbd.ImageNotFound:
            return None


def look_inside(image: rbd.Image) -> ImageFacts:
    """Return what an image that is open knows of itself; raises as ``rbd`` does.

    That is all but the name of its data pool, which the storage cluster knows.
    """
    return ImageFacts(
        size=int(image.size()),
        used=_used(image),
        features=_features(image),
        watchers=_watchers(image),
        snapshots=_snapshots(image),
        metadata=tuple(sorted(image.metadata_list())),
    )


def ids(place: Place) -> dict[str, str]:
    """Return the ids of all images in a place by name, in one question.

    Of none in its trash.
    """
    with within(place, f"list the images in {place}") as pool:
        return {one["name"]: one["id"] for one in rbd.RBD().list2(pool)}


def beside(place: Place) -> tuple[Place, ...]:
    """Return all pools and namespaces in which a place's user may use images."""
    with _cluster(place) as cluster:
        pools = cluster.list_pools()
    found: list[Place] = []
    for name in pools:
        one = dataclasses.replace(place, pool=name, namespace="")
        try:
            with within(one, f"list the namespaces of the pool {name}") as pool:
                spaces = list(rbd.RBD().namespace_list(pool))
        except CephError as err:
            if err.errno == errno.ETIMEDOUT:
                raise
            # It is not for this user, or gone by now.
            continue
        found += [one, *(dataclasses.replace(one, namespace=name) for name in spaces)]
    return tuple(found)


def names(place: Place) -> tuple[str, ...]:
    """Return the images in a place; those in the trash are not among them."""
    with within(place, f"list the images of {place}") as pool:
        return tuple(rbd.RBD().list(pool))


def up_osds(place: Place) -> frozenset[str]:
    """Return ``FSID/ID`` of each OSD that is up in a place's storage cluster."""
    with _cluster(place) as cluster:
        seen = ceph.command(cluster, "osd dump")
    return frozenset(f"{seen['fsid']}/{o['osd']}" for o in seen["osds"] if o["up"])


def sizes(place: Place, names: Iterable[str]) -> dict[str, int | CephError]:
    """Return the sizes of images in bytes, or why one cannot be opened.

    Here as in :func:`watchers` and :func:`descriptions` images that are not there are
    left out, and a storage cluster that does not answer raises, for all together.
    """
    return _survey(place, names, lambda image: int(image.size()))


def watchers(
    place: Place, names: Iterable[str]
) -> dict[str, tuple[str, ...] | CephError]:
    """Return the addresses of the hosts that have images open to write."""
    return _survey(place, names, _watchers)


def descriptions(
    place: Place, names: Iterable[str]
) -> dict[str, dict[str, str] | CephError]:
    """Return what was written down with images."""
    return _survey(place, names, lambda image: dict(image.metadata_list()))


def describe(volume: Volume, metadata: Mapping[str, str]) -> None:
    """Write down with an image what it is for."""
    with _image(volume, "describe") as image:
        present = dict(image.metadata_list())
        for name, value in metadata.items():
            if present.get(name) != value:
                image.metadata_set(name, value)


def annotate(
    place: Place, names: Iterable[str], metadata: Mapping[str, str]
) -> list[CephError]:
    """Write the same down with many images; return why some could not be written to."""

    def write(image: Any) -> bool:
        for name, value in metadata.items():
            image.metadata_set(name, value)
        return True

    seen = _survey(place, names, write, read_only=False)
    return [error for error in seen.values() if isinstance(error, CephError)]


def rename(volume: Volume, name: str) -> None:
    """Give an image that nobody has open a name that no other has."""
    with together(), _pool(volume, "rename") as pool:
        try:
            with rbd.Image(pool, volume.image, read_only=True) as image:
                if watchers := _watchers(image):
                    raise _in_use(volume, watchers)
            rbd.RBD().rename(pool, volume.image, name)
        except rbd.ImageExists:
            raise _exists(volume.place.volume(name)) from None


def copy(source: Volume, target: Volume, data_pool: str) -> None:
    """Copy an image that nobody holds, with its snapshots, to another place.

    The copy has another name until it is whole, and takes the place of one that was
    cut short.  An image with the target's name is never touched.
    """
    unfinished = target.place.volume(f"{target.image}{UNFINISHED}")
    _remove_unfinished(unfinished)
    with (
        together(),
        _pool(source, "copy") as pool,
        _pool(target, "make") as there,
        rbd.Image(pool, source.image, read_only=True) as image,
    ):
        if watchers := _watchers(image):
            raise _in_use(source, watchers)
        if target.image in rbd.RBD().list(there):
            raise _exists(target)
        if data_pool:
            _check_pool(target, data_pool)
        try:
            image.deep_copy(
                there,
                unfinished.image,
                # All others are for Ceph alone to set.
                features=image.features() & sum(_BITS.values()),
                data_pool=data_pool or None,
            )
        except rbd.Error:
            # What is left may be what filled the pool.
            with contextlib.suppress(CephError):
                _remove_unfinished(unfinished)
            raise
        rbd.RBD().rename(there, unfinished.image, target.image)


def _remove_unfinished(volume: Volume) -> None:
    """Remove a copy that was cut short, with the snapshots that it has by then."""
    with _pool(volume, "remove") as pool:
        try:
            with rbd.Image(pool, volume.image, read_only=True) as image:
                if watchers := _watchers(image):
                    # Of a job that is no more, but its copy goes on.
                    raise _in_use(volume, watchers)
            with rbd.Image(pool, volume.image) as image:
                for snapshot in list(image.list_snaps()):
                    image.remove_snap(snapshot["name"])
            rbd.RBD().remove(pool, volume.image)
        except rbd.ImageNotFound:
            return


def clone(
    wanted: Sequence[tuple[Volume, str]], at_once: Callable[[], None] | None = None
) -> None:
    """Make images, by name, of what others hold now, also while those are written to.

    They share the data of their origins.  If one cannot be made, none is.  First a
    snapshot with the clone's name is made of each image, one right after the other;
    or ``at_once`` makes them all, of one moment, or raises :class:`ExecError`.
    """
    with together(), contextlib.ExitStack() as snapshots:
        for volume, _ in wanted:
            _check_clonable(volume)
        if at_once:
            try:
                at_once()
            except ExecError:
                # Who was not waited for longer may have made some.
                for volume, name in wanted:
                    with contextlib.suppress(CephError):
                        _forget_snapshot(volume, name)
                raise
        for volume, name in wanted:
            if not at_once:
                _snapshot(volume, name)
            # Ceph keeps it, unseen, as long as there is a clone.
            snapshots.callback(_forget_snapshot, volume, name)
        with contextlib.ExitStack() as made:
            for volume, name in wanted:
                _make_clone(volume, name)
                made.callback(remove, volume.place.volume(name))
            made.pop_all()


def _check_clonable(volume: Volume) -> None:
    if "layering" not in features(volume):
        raise CephError(
            f"the image {volume} cannot be cloned: it has not the feature layering",
            errno.EINVAL,
        )


def _snapshot(volume: Volume, name: str) -> None:
    with _image(volume, "make a snapshot of") as image:
        image.create_snap(name)


def _forget_snapshot(volume: Volume, name: str) -> None:
    with _image(volume, "remove a snapshot of") as image:
        image.remove_snap(name)


def _make_clone(volume: Volume, name: str) -> None:
    with _image(volume, "clone", read_only=True) as image:
        bits = sum(_BITS[one] for one in _features(image) if one in USUAL_FEATURES)
    with _cluster(volume.place) as cluster:
        # The first format's snapshots would have to be protected and removed by us.
        # The binding has no parameter for it before Ceph 17.
        cluster.conf_set("rbd_default_clone_format", "2")
    with _pool(volume, "clone") as pool:
        rbd.RBD().clone(pool, volume.image, name, pool, name, features=bits)


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
            _check_holders(volume, pool)
            if grace:
                rbd.RBD().trash_move(pool, volume.image, grace)
            else:
                rbd.RBD().remove(pool, volume.image)
        except rbd.ImageNotFound:
            return
        except rbd.ImageBusy:
            # Opened since the look.
            raise _in_use(volume, ()) from None


def check_removable(volume: Volume, running: bool = False) -> None:
    """Raise what :func:`remove` would raise before it removes anything.

    The disk of a ``running`` instance is open at one host, that of the instance.
    """
    with _pool(volume, "remove") as pool, contextlib.suppress(rbd.ImageNotFound):
        _check_holders(volume, pool, running)


def wipe(volume: Volume, offset: int, length: int) -> None:
    """Make a part of an image read as zeroes, and give its space back."""
    with _image(volume, "wipe") as image:
        for start in range(offset, offset + length, CHUNK):
            image.write_zeroes(start, min(CHUNK, offset + length - start))


def read(volume: Volume) -> Iterator[bytes]:
    """Give the whole content of an image in pieces."""
    with _image(volume, "read", read_only=True) as image:
        total = int(image.size())
        filled = _filled(image)
        for start in range(0, total, CHUNK):
            length = min(CHUNK, total - start)
            yield image.read(start, length) if start in filled else bytes(length)


def write(volume: Volume, pieces: Iterable[bytes]) -> None:
    """Write pieces one after the other into an image, from its start.

    Zeroes take no space.  What follows after the last piece stays.
    """
    with _image(volume, "write") as image:
        room = int(image.size())
        filled = _filled(image)
        offset = 0
        for piece in pieces:
            if offset + len(piece) > room:
                raise CephError(
                    f"the data does not fit into the image {volume} of {room} bytes;"
                    " take a larger disk",
                    errno.EFBIG,
                )
            end = offset + len(piece)
            if piece != bytes(len(piece)):
                image.write(piece, offset)
            elif not filled.isdisjoint(range(offset - offset % CHUNK, end, CHUNK)):
                image.write_zeroes(offset, len(piece))
            offset = end
        image.flush()


def _filled(image: Any) -> set[int]:
    """Return where there may be data: the starts of such chunks."""
    starts: set[int] = set()

    def add(offset: int, length: int, exists: bool) -> None:
        if exists:
            starts.update(range(offset - offset % CHUNK, offset + length, CHUNK))

    image.diff_iterate(0, image.size(), None, add, whole_object=True)
    return starts


_shared: contextvars.ContextVar[
    tuple[contextlib.ExitStack, dict[tuple[str, str], rados.Rados], int] | None
] = contextvars.ContextVar("shared", default=None)


@contextlib.contextmanager
def together(timeout: int = ceph.TIMEOUT) -> Iterator[None]:
    """Let all functions that are called within the block share their connections.

    ``timeout`` is in seconds, where Ceph has less time to answer than it usually has.
    """
    if _shared.get() is not None:
        yield
        return
    with contextlib.ExitStack() as stack:
        token = _shared.set((stack, {}, timeout))
        try:
            yield
        finally:
            _shared.reset(token)


def _timeout() -> int:
    shared = _shared.get()
    return shared[2] if shared else ceph.TIMEOUT


@contextlib.contextmanager
def _cluster(place: Place) -> Iterator[rados.Rados]:
    shared = _shared.get()
    if shared is None:
        with contextlib.ExitStack() as stack:
            yield _connect(stack, place, ceph.TIMEOUT)
        return
    stack, open_ones, timeout = shared
    key = (place.conf, place.client)
    if key not in open_ones:
        open_ones[key] = _connect(stack, place, timeout)
    yield open_ones[key]


def _connect(stack: contextlib.ExitStack, place: Place, timeout: int) -> rados.Rados:
    key = place.conf, place.client
    if silent := silence.told(key):
        _see_whether_it_is_back(place, silent, min(timeout, silent.left))
    try:
        return stack.enter_context(ceph.connect(*key, timeout=timeout))
    except CephError as err:
        silence.note(key, err, timeout)
        raise


def _see_whether_it_is_back(
    place: Place, silent: silence.Silence, timeout: int
) -> None:
    key = place.conf, place.client
    try:
        with ceph.connect(*key, timeout=timeout):
            pass
    except CephError as err:
        if err.errno != errno.ETIMEDOUT:
            raise
        silence.note(key, CephError(silent.said, errno.ETIMEDOUT), timeout)
        raise CephError(f"{silent.said}{_AGAIN}", errno.ETIMEDOUT) from err
    silence.forget(key)


@contextlib.contextmanager
def _pool(volume: Volume, verb: str) -> Iterator[Any]:
    with within(volume.place, f"{verb} the image {volume}", volume.image) as pool:
        yield pool


@contextlib.contextmanager
def within(place: Place, what: str, image: str = "") -> Iterator[Any]:
    """Give a place's pool; ``what``, and to which ``image``, is done in the block."""
    with _cluster(place) as cluster:
        if silent := silence.told(_osds(place)):
            _see_whether_osds_answer(place, what, image, silent)
        try:
            with cluster.open_ioctx(place.pool) as pool:
                if place.namespace:
                    pool.set_namespace(place.namespace)
                    if not rbd.RBD().namespace_exists(pool, place.namespace):
                        raise CephError(
                            f"the pool {place.pool} has no namespace"
                            f" {place.namespace}; create it with 'rbd namespace"
                            f" create {place}'",
                            errno.ENOENT,
                        )
                yield pool
        except rados.ObjectNotFound as err:
            raise _no_pool(place.pool) from err
        except (rbd.Error, rados.Error) as err:
            number = _number(err)
            reason = CephError(_reason(cluster, place, number), number)
            silence.note(_osds(place), reason, _timeout())
            raise CephError(f"cannot {what}: {reason}", number) from err


def _osds(place: Place) -> silence.Key:
    return place.conf, place.client, place.pool


def _see_whether_osds_answer(
    place: Place, what: str, image: str, silent: silence.Silence
) -> None:
    """Fail where OSDs that did not answer just now do not answer now, either.

    One image's are asked for that image: another one may have others, so an answer
    does not end the note, which costs those that it does not concern no more than this.
    """
    timeout = min(_timeout(), silent.left)
    try:
        with (
            ceph.connect(place.conf, place.client, timeout=timeout) as cluster,
            cluster.open_ioctx(place.pool) as pool,
        ):
            pool.set_namespace(place.namespace)
            if image:
                with rbd.Image(pool, image, read_only=True):
                    return
            rbd.RBD().list(pool)
    except (CephError, rbd.Error, rados.Error) as err:
        if _number(err) == errno.ETIMEDOUT:
            said = CephError(silent.said, errno.ETIMEDOUT)
            silence.note(_osds(place), said, timeout)
            raise CephError(
                f"cannot {what}: {silent.said}{_AGAIN}", errno.ETIMEDOUT
            ) from err
        # It is an answer, and what follows will tell.


def _number(err: CephError | rbd.Error | rados.Error) -> int:
    return abs(int(getattr(err, "errno", None) or errno.EIO))


def _survey(
    place: Place,
    names: Iterable[str],
    look: Callable[[Any], Seen],
    read_only: bool = True,
) -> dict[str, Seen | CephError]:
    """Open images, many at a time, and return what is seen of each."""

    def one(name: str) -> Seen | CephError | None:
        try:
            # Whoever opens an image to write is a watcher himself.
            with rbd.Image(pool, name, read_only=read_only) as image:
                return look(image)
        except rbd.ImageNotFound:
            return None
        except rbd.Error as err:
            number = _number(err)
            if number == errno.ETIMEDOUT:
                # So will all others.
                raise
            return CephError(
                f"the image {place.volume(name)} cannot be opened:"
                f" {os.strerror(number)}",
                number,
            )

    with (
        within(place, f"look at the images in {place}") as pool,
        ThreadPoolExecutor(_AT_A_TIME) as threads,
    ):
        asked = {name: threads.submit(one, name) for name in names}
        try:
            found = {name: future.result() for name, future in asked.items()}
        except rbd.Error:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return {name: seen for name, seen in found.items() if seen is not None}


def _check_pool(volume: Volume, name: str) -> None:
    with _cluster(volume.place) as cluster:
        if not cluster.pool_exists(name):
            raise _no_pool(name)


def _data_pool(volume: Volume, image: Any) -> str:
    """Return the name of the pool that has an image's data, "" for the image's own."""
    if _DATA_POOL[0] not in _features(image):
        return ""
    with _cluster(volume.place) as cluster:
        name = cluster.pool_reverse_lookup(image.data_pool_id())
    if name is None:
        raise CephError(
            f"cannot open the image {volume}: the pool with its data is gone",
            errno.ENOENT,
        )
    return str(name)


def _no_pool(name: str) -> CephError:
    return CephError(
        f"the storage cluster has no pool {name}; create it or name another one"
        " ('gnt-cluster modify -D rbd:pool=NAME')",
        errno.ENOENT,
    )


def _reason(cluster: rados.Rados, place: Place, number: int) -> str:
    """Say what an error's number means here."""
    if number in (errno.EPERM, errno.EACCES):
        return (
            f"{place.client} may not do that in the pool {place.pool} ('ceph auth"
            f" get {place.client}' shows what it may)"
        )
    # Ceph lets clients of a full pool wait for space rather than fail.
    short = number in (errno.ETIMEDOUT, errno.ENOSPC, errno.EDQUOT)
    if short and (full := _what_is_full(cluster)):
        return full
    if number == errno.ETIMEDOUT:
        return f"no answer from the OSDs within {_timeout()} s; look at 'ceph -s'"
    return os.strerror(number)


def _what_is_full(cluster: rados.Rados) -> str:
    with contextlib.suppress(CephError):
        checks = ceph.command(cluster, "health", detail="detail")["checks"]
        # Where OSDs are full, so are all their pools.
        for name in ("OSD_FULL", "POOL_FULL"):
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
        name for name, bit in (*_BITS.items(), *_OWN_BITS) if bits & bit == bit
    )


def _used(image: Any) -> int | None:
    if "fast-diff" not in _features(image) or image.flags() & _INVALID:
        return None
    total = 0

    def add(_: int, length: int, exists: bool) -> None:
        nonlocal total
        total += length if exists else 0

    # This reads the object map only.  What a clone shares with its origin is the
    # origin's.
    image.diff_iterate(
        0, image.size(), None, add, include_parent=False, whole_object=True
    )
    return total


def _snapshots(image: Any) -> tuple[str, ...]:
    # Those in the trash are there for clones, and have no name that could be used.
    return tuple(
        snapshot["name"]
        for snapshot in image.list_snaps()
        if snapshot["namespace"] != rbd.RBD_SNAP_NAMESPACE_TYPE_TRASH
    )


def _watchers(image: Any) -> tuple[str, ...]:
    # One host may have many clients, each with a port and a number of its own.
    hosts = {host_of(watcher["addr"]) for watcher in image.watchers_list()}
    return tuple(sorted(hosts))


def host_of(address: str) -> str:
    """Return the host's part of a client's address as Ceph writes it.

    It has a port, mostly 0, and may have a number: ``192.0.2.1:0/77``, ``[::1]:0``.
    """
    return address.rpartition(":")[0].strip("[]")


def _check_holders(volume: Volume, pool: Any, running: bool = False) -> None:
    # Read-only, so that this look is no watcher itself.
    with rbd.Image(pool, volume.image, read_only=True) as image:
        holders = _holders(volume, image, running)
    if holders:
        raise holders


def _holders(volume: Volume, image: Any, running: bool) -> CephError | None:
    """Return why an image may not be removed, by whom it is held."""
    watchers = _watchers(image)
    if running and len(watchers) > 1:
        return CephError(
            f"the image {volume} is in use at {', '.join(watchers)}, while its instance"
            " runs on one node only; stop what has it open elsewhere (a crashed client"
            f" is forgotten after {_FORGOTTEN} s)",
            errno.EBUSY,
        )
    if watchers and not running:
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


def _exists(volume: Volume) -> CephError:
    return CephError(
        f"the image {volume} exists already and was left as it is; remove it with 'rbd"
        f" rm {volume}' if no instance needs it",
        errno.EEXIST,
    )


def _in_use(volume: Volume, hosts: Iterable[str]) -> CephError:
    at = f" at {', '.join(sorted(set(hosts)))}" if hosts else ""
    return CephError(
        f"the image {volume} is in use{at}; stop what has it open there (a crashed"
        f" client is forgotten after {_FORGOTTEN} s)",
        errno.EBUSY,
    )
