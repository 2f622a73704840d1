"""What a node tells Ganeti of the room for rbd disks.

``gnt-node list``, hbal and hspace get it through luxid.  That asks a node for the
volume group and the file storage directory only, because Ganeti's other storage types
have no name in its configuration.  So the node adds the pool by itself.
"""

# Ganeti gives the methods their names.
# ruff: noqa: N802

import errno
import logging
from collections.abc import Callable, Sequence
from typing import Any

from ganeti import backend, constants, errors, ssconf

from ganeti_ceph import cephconf, params
from ganeti_ceph.disk import options, space, uri
from ganeti_ceph.disk.options import DiskOptions
from ganeti_ceph.disk.space import Space
from ganeti_ceph.errors import CephError, Error, UsageError
from ganeti_ceph.node import files, osd_memory

_OF_HOST = frozenset({constants.HT_KVM, constants.HT_FAKE})

#: Where luxid asks for one of these, the pool is not added.
_GO_BEFORE = frozenset({constants.ST_LVM_VG, constants.ST_RADOS})


def extend_info_functions(functions: dict[str, Any]) -> None:
    """Let jobs ask nodes for a pool's room."""
    functions[constants.ST_RADOS] = pool_info


def extend_storage_types(types: dict[str, Any]) -> None:
    """Let ``gnt-node list-storage`` list pools."""
    types[constants.ST_RADOS] = PoolStorage


def pool_info(pool: str, given: Sequence[Any]) -> dict[str, Any]:
    """Return the room of a pool; ``given`` holds its disks' options."""
    try:
        wanted = options.read(given[0])
        return _info(space.ask(wanted, pool))
    except Error as err:
        logging.warning("ganeti-ceph cannot tell the room in pool %s: %s", pool, err)
        return _no_info(pool)


def node_info(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Add the room of the cluster's pool, before that of other storage.

    A volume group goes before it: htools count instances' disks against it, and never
    rbd disks against anything.  What OSDs are sure of is taken off the free memory.
    """
    units, specs = args
    boot_id, storage, hypervisors = wrapped(*args, **kwargs)
    if units is not None and _GO_BEFORE.isdisjoint(unit[0] for unit in units):
        storage = [*_default_info(), *storage]
    return boot_id, storage, _without_osds(specs, hypervisors)


def _without_osds(specs: Any, hypervisors: Any) -> Any:
    """Return what hypervisors tell of the node, less the memory that OSDs get.

    Only of those under which an instance's memory is taken from the host's.
    """
    ours = cephconf.is_ours(files.read(files.CONF)) if hypervisors else False
    resident = osd_memory.resident() if ours else []
    if not resident:
        return hypervisors
    try:
        wanted = params.from_tags(ssconf.SimpleStore().GetClusterTags())
    except (Error, errors.GenericError) as err:
        logging.warning("ganeti-ceph cannot tell what memory OSDs get: %s", err)
        return hypervisors
    less = osd_memory.reserved(wanted, resident) // 2**20
    return [
        one
        if name not in _OF_HOST or one is None or "memory_free" not in one
        else {
            **one,
            "memory_free": max(one["memory_free"] - less, 0),
            "memory_dom0": max(one.get("memory_dom0", 0) + less, 0),
        }
        for (name, _), one in zip(specs, hypervisors, strict=True)
    ]


class PoolStorage:
    """The pools, as Ganeti's storage units of a node."""

    def __init__(self, wanted: Sequence[dict[str, str]]) -> None:
        self._wanted = wanted

    def List(self, name: str | None, fields: Sequence[str]) -> list[list[Any]]:
        """Return the fields of each pool that this node reaches.

        Raises :class:`backend.RPCFail` if a storage cluster does not answer.
        """
        rows = []
        for given in self._wanted:
            try:
                wanted = options.read(given)
                found = space.ask(wanted, wanted.pool)
            except (CephError, UsageError) as err:
                if isinstance(err, CephError) and err.errno == errno.ENOENT:
                    # It is for other nodes.
                    continue
                raise backend.RPCFail(str(err)) from err
            shown = _name(found.pool, wanted.conf)
            if name in (None, shown):
                row = {
                    constants.SF_NAME: shown,
                    constants.SF_SIZE: found.size,
                    constants.SF_USED: found.used,
                    constants.SF_FREE: found.free,
                    constants.SF_ALLOCATABLE: True,
                }
                rows.append([row[field] for field in fields])
        return rows


def _name(pool: str, conf: str) -> str:
    """Return what to list a pool as: of two with one name Ganeti would show one."""
    return pool if conf == uri.CONF else f"{pool}:conf={conf}"


def _default_info() -> list[dict[str, Any]]:
    """Return the room of the cluster's pool; nothing where a node has no such pool."""
    try:
        return [_info(space.ask(DiskOptions(user=_user()), None))]
    except CephError as err:
        if err.errno == errno.ENOENT:
            return []
        logging.warning("ganeti-ceph cannot tell the room for rbd disks: %s", err)
        return [_no_info("")]


def _user() -> str:
    """Return the user of our own storage cluster, Ceph's own where it is unknown."""
    ours = files.keyring(uri.DISK_USER).exists()
    return uri.DISK_USER if ours else uri.USER


def _info(found: Space) -> dict[str, Any]:
    return {
        "type": constants.ST_RADOS,
        "name": found.pool,
        "storage_size": found.size,
        "storage_free": found.free,
    }


def _no_info(pool: str) -> dict[str, Any]:
    return {
        "type": constants.ST_RADOS,
        "name": pool,
        "storage_size": None,
        "storage_free": None,
    }
