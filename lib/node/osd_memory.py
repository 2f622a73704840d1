"""How much memory this node's OSDs may use, and what of it instances cannot have.

An OSD takes what it is told to aim at (``osd_memory_target``), sooner or later.  What
it is sure to get is kept from instances; what it has beyond that is given back as they
need it, so it counts as free.
"""

import json
import logging
import socket
from pathlib import Path
from typing import Any

from ganeti_ceph.errors import ExecError
from ganeti_ceph.params import StorageParameters

MOST = 16 * 2**30

#: For the operating system, a mon and a mgr.
_HOST = 2 * 2**30
_STEP = 64 * 2**20
_SOCKETS = Path("/var/run/ceph")
_OPTION = "osd_memory_target"
#: Seconds for an OSD to answer.
_PATIENCE = 10


def target(params: StorageParameters, total: int, instances: int, osds: int) -> int:
    """Return what each OSD shall aim at, in bytes.

    ``total`` is the node's memory, ``instances`` what its instances may use, ``osds``
    the number of its OSDs.
    """
    if params.osd_memory is not None:
        return params.osd_memory
    # Half of what is idle: an instance may start before the OSDs have given it back.
    share = (total - instances - _HOST) // 2 // osds
    return min(max(share // _STEP * _STEP, params.sure_osd_memory), MOST)


def reserved(params: StorageParameters, resident: list[int]) -> int:
    """Return how much less memory is free for instances than is free now, in bytes.

    ``resident`` is what each OSD has now; where they have more than they are sure of,
    the result is below 0.
    """
    return sum(params.sure_osd_memory - one for one in resident)


def resident(proc: Path = Path("/proc")) -> list[int]:
    """Return what each OSD of this node has in memory, in bytes."""
    found = []
    for path in proc.glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == "ceph-osd":
                status = path.with_name("status").read_text()
                found.append(_kibibytes(status, "VmRSS") * 1024)
        except (OSError, ExecError):
            # It has ended.
            continue
    return found


def total(proc: Path = Path("/proc")) -> int:
    """Return the node's memory in bytes."""
    return _kibibytes((proc / "meminfo").read_text(), "MemTotal") * 1024


def apply(params: StorageParameters, instances: int) -> list[str]:
    """Tell each running OSD of this node what to aim at; name those that changed."""
    sockets = sorted(_SOCKETS.glob("ceph-osd.*.asok"))
    if not sockets:
        return []
    aim = target(params, total(), instances, len(sockets))
    fixed = params.osd_memory is not None
    changed = []
    for path in sockets:
        try:
            now = int(_ask(path, "config", "get", _OPTION)[_OPTION])
            # Small changes are not worth it; what was asked for is.
            if now != aim and (fixed or abs(now - aim) > now // 10):
                _ask(path, "config", "set", _OPTION, str(aim))
                changed.append(path.name.removeprefix("ceph-").removesuffix(".asok"))
        except (ExecError, LookupError, TypeError, ValueError) as err:
            # The others are told all the same; one that was killed leaves its socket.
            logging.warning("ganeti-ceph cannot set the memory of an OSD: %s", err)
    return changed


def _ask(path: Path, *words: str) -> Any:
    # Only here: it is of Ceph's packages, which not every node has.
    from ceph_daemon import admin_socket

    former = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        return json.loads(admin_socket(str(path), list(words), format="json"))
    except (RuntimeError, OSError, ValueError) as err:
        raise ExecError(f"{path.name}: {' '.join(words)}: {err}") from err
    finally:
        socket.setdefaulttimeout(former)


def _kibibytes(text: str, name: str) -> int:
    for line in text.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise ExecError(f"the kernel does not tell {name}")
