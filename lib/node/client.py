"""The Ceph user that opens the instances' disks, and what it may do."""

import errno
import re
from collections.abc import Iterable
from typing import Any

import rados

from ganeti_ceph import ceph
from ganeti_ceph.disk import image, space, trash
from ganeti_ceph.disk.uri import Place
from ganeti_ceph.errors import CephError
from ganeti_ceph.node import config, files
from ganeti_ceph.rpc import DefaultPool, Grant
from ganeti_ceph.secret import Secret
from ganeti_ceph.steps import MakeClient

_POOL = re.compile(r"profile rbd pool=([A-Za-z0-9_.-]+)")

#: How often it is tried to let the user use a pool, while others change what it may.
_TRIES = 5


def make(step: MakeClient) -> str:
    """Write down the key of the user on this node; the user is made if need be."""
    with ceph.connect(key=step.admin) as cluster:
        key = _ensure(cluster, step.user, (step.pool,))
    entity = f"client.{step.user}"
    files.write(files.keyring(step.user), config.keyring(entity, key), 0o600)
    return f"wrote {files.keyring(step.user)}"


def grant(asked: Grant) -> None:
    """Let the user use the images of further pools.

    Raises :class:`CephError` where there is no such pool.
    """
    with ceph.connect() as cluster:
        _refuse_missing(cluster, asked.pools)
        _ensure(cluster, asked.user, asked.pools)


def take_back(asked: Grant) -> None:
    """Let the user use no other pools than these, unless images are there.

    Its pools are where removed images are looked for, and one may have its data in a
    further one, so nothing is taken away while there is any; an image that is no disk
    may be what one is a clone of.  Nor is anything where an administrator let it do
    something else.  Nobody else may put images into pools meanwhile.
    Raises :class:`CephError` where that cannot be found out.
    """
    place = Place(asked.pools[0], user=asked.user)
    needed = set(asked.pools)
    for one in image.beside(place):
        if trash.content(one):
            return
        if one.pool not in needed and image.names(one):
            needed.add(one.pool)
    entity = f"client.{asked.user}"
    with ceph.connect() as cluster, files.turn(asked.user):
        present = find(cluster, entity)
        had = _pools(present) if present else set()
        left = had.intersection(needed)
        ours = capabilities(had)
        usual = present and present["caps"] == dict(
            zip(ours[::2], ours[1::2], strict=True)
        )
        if usual and left and left != had:
            caps = capabilities(left)
            ceph.command(cluster, "auth caps", entity=entity, caps=caps)


def name_pool(asked: DefaultPool) -> None:
    """Make a pool the one that Ceph's clients use where they are told none.

    Raises :class:`CephError` where there is no such pool, or data pool.
    """
    with ceph.connect() as cluster:
        _refuse_missing(cluster, filter(None, (asked.pool, asked.data_pool)))
        ceph.command(
            cluster,
            "config set",
            who="global",
            name="rbd_default_pool",
            value=asked.pool,
        )
        space.keep_data_pool(cluster, asked.pool, asked.data_pool)


def _refuse_missing(cluster: rados.Rados, pools: Iterable[str]) -> None:
    there = cluster.list_pools()
    for pool in pools:
        if pool not in there:
            raise CephError(
                f"the storage cluster has no pool {pool}; create it ('ceph osd pool"
                f" create {pool}', 'rbd pool init {pool}') or name another one",
                errno.ENOENT,
            )


def capabilities(pools: Iterable[str]) -> list[str]:
    """Return what lets a user use the images in pools and do nothing else.

    The list is of daemon kinds and capabilities in turn, as Ceph's ``auth`` commands
    take it.

    >>> capabilities(["ssd", "rbd"])
    ['mon', 'profile rbd', 'osd', 'profile rbd pool=rbd, profile rbd pool=ssd']
    """
    osd = ", ".join(f"profile rbd pool={pool}" for pool in sorted(set(pools)))
    return ["mon", "profile rbd", "osd", osd]


def _ensure(cluster: rados.Rados, user: str, pools: Iterable[str]) -> Secret:
    """Make the user, or add pools to what it may use; return its key.

    Ceph can only be told all that a user may, so who adds something at the same time
    may take it away again: on this node one is at it at a time, and what is written is
    read again, for the other nodes.
    """
    entity = f"client.{user}"
    with files.turn(user):
        for _ in range(_TRIES):
            present = find(cluster, entity)
            if present is None:
                # Other nodes may be at it, too: all of them get the same answer.
                answer = ceph.command(
                    cluster,
                    "auth get-or-create",
                    entity=entity,
                    caps=capabilities(pools),
                )
                return Secret(answer[0]["key"])
            had = _pools(present)
            if had.issuperset(pools):
                return Secret(present["key"])
            wanted = capabilities(had.union(pools))
            ceph.command(cluster, "auth caps", entity=entity, caps=wanted)
    raise CephError(
        f"what {entity} may do is changed by somebody else at the same time; try again",
        errno.EAGAIN,
    )


def _pools(user: dict[str, Any]) -> set[str]:
    return set(_POOL.findall(user["caps"].get("osd", "")))


def find(cluster: rados.Rados, entity: str) -> dict[str, Any] | None:
    """Return the key and capabilities of a user, None if there is none."""
    try:
        answer = ceph.command(cluster, "auth get", entity=entity)
    except CephError as err:
        if err.errno == errno.ENOENT:
            return None
        raise
    found: dict[str, Any] = answer[0]
    return found
