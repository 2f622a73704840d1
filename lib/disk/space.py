"""How much room a pool has, as its users see it: one question to the storage cluster.

Ceph counts a pool's free space with its copies, its rule, its full ratio and the
fullest of its OSDs already.
"""

import dataclasses
import errno
from typing import Any

import rados

from ganeti_ceph import ceph
from ganeti_ceph.disk import silence
from ganeti_ceph.disk.options import DiskOptions
from ganeti_ceph.errors import CephError

_MEBIBYTE = 1024**2

#: Seconds for connecting, and again for the answer: 10 in all, where Ganeti waits 60.
TIMEOUT = 5

_POOL = "rbd_default_pool"
_DATA_POOL = "rbd_default_data_pool"
#: Ceph keeps such pairs with a pool.  Its own option for it would give each new image
#: that names no data pool this one.
_APPLICATION = "rbd"
_KEPT_DATA_POOL = "ganeti-data-pool"


@dataclasses.dataclass(frozen=True)
class Space:
    """The room of a pool in mebibytes of users' data, stored or to be stored."""

    pool: str
    size: int
    free: int

    @property
    def used(self) -> int:
        """What is not free."""
        return self.size - self.free


def ask(options: DiskOptions, pool: str | None) -> Space:
    """Return the room for disks with these options in a pool.

    Without a pool it is the one that Ceph's configuration names, with the data pool
    that was kept with it.  Where data lies in a pool of its own, that one's room
    counts.  Raises :class:`CephError`, with ENOENT where this node has no storage or
    the storage cluster no such pool.
    """
    key = options.conf, f"client.{options.user}"
    try:
        with ceph.connect(*key, timeout=TIMEOUT) as cluster:
            name = options.data_pool or cluster.conf_get(_DATA_POOL) or pool
            if not name:
                default = cluster.conf_get(_POOL)
                name = _kept(cluster, default) or default
            return of_pool(ceph.command(cluster, "df", detail="detail"), name)
    except CephError as err:
        # Who asks on behalf of a disk will soon wait for the same.
        silence.note(key, err, TIMEOUT)
        raise


def keep_data_pool(cluster: rados.Rados, pool: str, data_pool: str) -> None:
    """Write down with a pool where the data of new disks lies; "" for the pool itself.

    Nothing but the room that nodes show comes of it.
    """
    named = {"pool": pool, "app": _APPLICATION, "key": _KEPT_DATA_POOL}
    if data_pool:
        ceph.command(cluster, "osd pool application set", value=data_pool, **named)
    elif _kept(cluster, pool):
        ceph.command(cluster, "osd pool application rm", **named)


def _kept(cluster: rados.Rados, pool: str) -> str:
    answer = ceph.command(cluster, "osd pool application get", pool=pool)
    return str(answer.get(_APPLICATION, {}).get(_KEPT_DATA_POOL, ""))


def of_pool(answer: Any, name: str) -> Space:
    """Return the room of a pool as ``ceph df detail`` tells it."""
    for pool in answer["pools"]:
        if pool["name"] == name:
            stats = pool["stats"]
            break
    else:
        raise CephError(
            f"the storage cluster has no pool {name}; create it or name another one"
            " ('gnt-cluster modify -D rbd:pool=NAME')",
            errno.ENOENT,
        )
    stored, free = int(stats["stored"]), int(stats["max_avail"])
    size = stored + free
    quota = int(stats.get("quota_bytes", 0))
    if quota and quota < size:
        size, free = quota, max(quota - stored, 0)
    return Space(name, size // _MEBIBYTE, free // _MEBIBYTE)
