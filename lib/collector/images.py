"""The images of the storage cluster, a few of them opened at each reading.

To open an image costs the OSDs some operations and this node 5 ms.  So a reading lists
all of them, which is cheap, and opens those that were never opened, then those of
which the last look is the oldest, as many as it may.
"""

import dataclasses
import errno
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import rados
import rbd

from ganeti_ceph.collector import read
from ganeti_ceph.collector.facts import Image, ImageIo, ImageUse
from ganeti_ceph.disk import describe, image
from ganeti_ceph.errors import CephError

#: How many images a reading opens, and for how many seconds it goes on with it.
LIMIT = 64
SECONDS = 2.0

#: Seconds after which a reading lists no further pool; those come first the next time.
_LISTING = 5.0

#: Seconds for which a pool is let be that could not be listed in time.
_LET_BE = 60.0

#: What Ceph allows and its Python modules cannot read.
_NO_TEXT = "bytes that are not UTF-8"

#: Pool, namespace and name.
Key = tuple[str, str, str]


class Images:
    """What is known of the images, from one reading to the next."""

    def __init__(
        self,
        limit: int | None = LIMIT,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open at most ``limit`` images in a reading, None for all of them."""
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._known: dict[Key, Image] = {}
        #: When a look at an image was tried last, be it in vain.
        self._tried: dict[Key, float] = {}
        #: The pools that could not be listed the last time, and why.
        self.unlisted: dict[str, CephError] = {}
        #: When it was tried, and until when not to try it again, by pool.
        self._listed: dict[str, float] = {}
        self._let_be: dict[str, float] = {}

    def look(
        self,
        cluster: rados.Rados,
        pools: Collection[str],
        counters: Mapping[Key, ImageIo],
    ) -> tuple[Image, ...]:
        """Return the images in pools, by pool, namespace and name.

        Of a pool that cannot be listed (:attr:`unlisted`) those that were there before.
        Raises :class:`CephError` if none can be listed, or Ceph has shut this client
        out.
        """
        for gone in self.unlisted.keys() - {*pools}:
            del self.unlisted[gone]
        listed = self._list_all(cluster, pools)
        if self.unlisted and len(self.unlisted) == len(pools):
            raise next(iter(self.unlisted.values()))
        present = set(listed)
        self._tried = {k: at for k, at in self._tried.items() if k in present}
        self._known = {
            key: self._count(key, counters.get(key)) for key in sorted(present)
        }
        self._open(cluster)
        return tuple(self._known.values())

    def _list_all(self, cluster: rados.Rados, pools: Collection[str]) -> list[Key]:
        end = time.monotonic() + _LISTING
        found: list[Key] = []
        for pool in sorted(pools, key=lambda pool: (self._listed.get(pool, 0.0), pool)):
            now = time.monotonic()
            before = [key for key in self._known if key[0] == pool]
            if pool in self.unlisted and now < self._let_be.get(pool, now):
                found += before
            elif self._limit is not None and now > end:
                self.unlisted[pool] = CephError(
                    f"no time was left to list the images in the pool {pool}: others"
                    " took long",
                    errno.EAGAIN,
                )
                found += before
            else:
                self._listed[pool] = now
                found += self._list(cluster, pool, before)
        return found

    def _list(
        self, cluster: rados.Rados, pool: str, before: Sequence[Key]
    ) -> Sequence[Key]:
        self.unlisted.pop(pool, None)
        try:
            return list(_list(cluster, pool))
        except CephError as err:
            if err.errno == errno.ESHUTDOWN:
                raise
            self.unlisted[pool] = err
            if err.errno == errno.ETIMEDOUT:
                # Each wait is long, and the other pools are read meanwhile.
                self._let_be[pool] = time.monotonic() + _LET_BE
            return before

    def _count(self, key: Key, now: ImageIo | None) -> Image:
        known = self._known.get(key)
        if known is None:
            return Image(*key, io=now)
        if now is None and known.io is None:
            return known
        rates = None if now is None else read.rates(known.io, now)
        return dataclasses.replace(known, io=now, rates=rates)

    def _open(self, cluster: rados.Rados) -> None:
        end = time.monotonic() + self._seconds
        for key in self._due():
            if self._limit is not None and time.monotonic() > end:
                return
            if not self._look_at(cluster, key):
                return

    def _due(self) -> list[Key]:
        """Return the images to open in this reading, in this order."""
        due = sorted(self._known, key=lambda key: self._tried.get(key, 0.0))
        if self._limit is None:
            return due
        # A live migration is to be seen to end.  But images that are meant to be open
        # at several nodes at once leave half of the time to the others.
        shared = [key for key in due if _is_shared(self._known[key])]
        first = shared[: self._limit // 2]
        others = set(first)
        return (first + [key for key in due if key not in others])[: self._limit]

    def _look_at(self, cluster: rados.Rados, key: Key) -> bool:
        """Open an image; tell whether others may be opened now.

        Raises :class:`CephError` if this client may not open any.
        """
        pool, namespace, name = key
        known = self._known[key]
        self._tried[key] = self._clock()
        try:
            with cluster.open_ioctx(pool) as context:
                context.set_namespace(namespace)
                # Read-only, so that this look is no watcher itself.
                with rbd.Image(context, name, read_only=True) as opened:
                    use = self._use(opened)
            self._known[key] = dataclasses.replace(known, use=use, error=None)
        except (rbd.ImageNotFound, rados.ObjectNotFound):
            # Removed since they were listed.
            del self._known[key]
        except (rbd.Error, rados.Error) as err:
            number = _number(err)
            if number == errno.ESHUTDOWN:
                # So will all others.
                raise CephError(
                    f"cannot open the image {known.place}/{name}:"
                    f" {os.strerror(number)}",
                    number,
                ) from err
            words = os.strerror(number)
            self._known[key] = dataclasses.replace(known, error=words)
            # One stuck placement group is no reason to know nothing of all images.  But
            # each wait is long, and the others may be stuck, too: they come next time.
            return number != errno.ETIMEDOUT
        except UnicodeError:
            words = f"{_NO_TEXT} in its metadata or its snapshots' names"
            self._known[key] = dataclasses.replace(known, error=words)
        return True

    def _use(self, opened: rbd.Image) -> ImageUse:
        found = image.look_inside(opened)
        written = dict(found.metadata)
        # An empty list if there is none; the names of those that hold it come first.
        locks = opened.list_lockers()
        owners = [address for _, _, address in locks["lockers"]] if locks else []
        return ImageUse(
            self._clock(),
            found.size,
            found.used,
            found.watchers,
            read.address(owners[0]) if owners else None,
            written.get(describe.CLUSTER, ""),
            written.get(describe.INSTANCE, ""),
            written.get(describe.DISK, ""),
        )


def _is_shared(image: Image) -> bool:
    """Tell whether several had an image open the last time, which could be seen."""
    return image.use is not None and len(image.use.watchers) > 1 and not image.error


def _list(cluster: rados.Rados, pool: str) -> Iterator[Key]:
    try:
        with cluster.open_ioctx(pool) as context:
            for namespace in ("", *rbd.RBD().namespace_list(context)):
                context.set_namespace(namespace)
                for name in rbd.RBD().list(context):
                    yield pool, namespace, name
    except (rbd.Error, rados.Error) as err:
        number = _number(err)
        raise CephError(
            f"cannot list the images in the pool {pool}: {os.strerror(number)}", number
        ) from err
    except UnicodeError as err:
        raise CephError(
            f"cannot list the images in the pool {pool}: {_NO_TEXT} in a name",
            errno.EILSEQ,
        ) from err


def _number(err: rbd.Error | rados.Error) -> int:
    return abs(int(getattr(err, "errno", None) or errno.EIO))
