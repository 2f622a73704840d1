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
    conf = files.read(files.CONF)
    if conf is None or not conf.startswith(cephconf.HEADER):
        return result
    for task in (_start_daemons, _set_memory):
        try:
            task()
        except (Error, OSError, ganeti_errors.GenericError) as err:
            logging.error("ganeti-ceph: %s", err)
    return result


def _start_daemons() -> None:
    """Start those that died too often for systemd, not those that somebody stopped."""
    for unit in services.start_failed(run):
        logging.info("ganeti-ceph started %s, which had died", unit)


def _set_memory() -> None:
    """Tell the OSDs how much memory they may use now."""
    tags = ssconf.SimpleStore().GetClusterTags()
    kvm = hypervisor.GetHypervisor(constants.HT_KVM)
    instances = sum(info[2] for info in kvm.GetAllInstancesInfo()) * 2**20
    for osd in osd_memory.apply(params.from_tags(tags).osd_memory, instances):
        logging.info("ganeti-ceph told %s how much memory to aim at", osd)
