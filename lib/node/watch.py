"""What Ganeti's watcher does for the storage daemons of its node."""

import logging
from collections.abc import Callable
from typing import Any

from ganeti import constants, hypervisor, ssconf
from ganeti import errors as ganeti_errors

from ganeti_ceph import cephconf, params
from ganeti_ceph.errors import Error
from ganeti_ceph.node import files, osd_memory, services
from ganeti_ceph.run import run


def mend(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Look after the storage daemons, after Ganeti's own; a Ceph not ours is let be."""
    result = wrapped(*args, **kwargs)
    if not cephconf.is_ours(files.read(files.CONF)):
        return result
    for task in (_start_daemons, _set_memory):
        try:
            task()
        except (Error, OSError, ganeti_errors.GenericError) as err:
            logging.error("ganeti-ceph: %s", err)
    return result


def _start_daemons() -> None:
    """Start those that died too often for systemd, not those that somebody stopped."""
    started, given_up = services.start_failed(run)
    for unit in started:
        logging.info("ganeti-ceph started %s, which had died", unit)
    for unit in given_up:
        logging.warning(
            "ganeti-ceph leaves %s down: it died again and again ('journalctl -u %s'"
            " says of what); 'gnt-storage repair' starts it",
            *(unit, unit),
        )


def make_room(guest: Any) -> None:
    """Have the OSDs give memory back before an instance takes it."""
    if not cephconf.is_ours(files.read(files.CONF)):
        return
    try:
        _set_memory(guest.beparams[constants.BE_MAXMEM])
    except (Error, OSError, ganeti_errors.GenericError) as err:
        logging.error("ganeti-ceph: %s", err)


def _set_memory(further: int = 0) -> None:
    """Tell the OSDs how much memory they may use now.

    ``further`` is what an instance is about to take, in mebibytes.
    """
    tags = ssconf.SimpleStore().GetClusterTags()
    kvm = hypervisor.GetHypervisor(constants.HT_KVM)
    instances = further + sum(info[2] for info in kvm.GetAllInstancesInfo())
    for osd in osd_memory.apply(params.from_tags(tags), instances * 2**20):
        logging.info("ganeti-ceph told %s how much memory to aim at", osd)
