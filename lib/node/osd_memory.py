"""How much memory this node's OSDs may use, and what of it instances cannot have.

An OSD takes what it is told to aim at (``osd_memory_target``), sooner or later.  What
it is sure to get is kept from instances; what it has beyond that is given back as they
need it, so it counts as free.
"""

import json
import socket
from pathlib import Path
from typing import Any

from ganeti_ceph.errors import ExecError

GUARANTEED = 2 * 2**30
MOST = 16 * 2**30

#: For the operating system, a mon and a mgr.
_HOST = 2 * 2**30
_STEP = 64 * 2**20
_SOCKETS = Path("/var/run/ceph")
_OPTION = "osd_memory_target"
#: Seconds for an OSD to answer.
_PATIENCE = 10


def target(wanted: int | None, total: int, instances: int, osds: int) -> int:
    """Return what each OSD shall aim at, in bytes.

    ``wanted`` is the parameter's value, None for auto; ``total`` the node's memory,
    ``instances`` what its instances may use, ``osds`` how many OSDs it has.

    >>> target(None, 64 * 2**30, 40 * 2**30, 2) // 2**20
    5632
    """
    if wanted is not None:
        return wanted
    # Half of what is idle: an instance may start before the OSDs have given it back.
    share = (total - instances - _HOST) // 2 // osds
    return min(max(share // _STEP * _STEP, GUARANTEED), MOST)


def reserved(wanted: int | None, resident: list[int]) -> int:
    """Return how much less memory is free for instances than is free now, in bytes.

    ``resident`` is what each OSD has now; where they have more than they are sure of,
    the result is below 0.
    """
    sure = GUARANTEED if wanted is None else wanted
    return sum(sure - one for one in resident)


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


def apply(wanted: int | None, instances: int) -> list[str]:
    """Tell each running OSD of this node what to aim at; name those that changed."""
    sockets = sorted(_SOCKETS.glob("ceph-osd.*.asok"))
    if not sockets:
        return []
    aim = target(wanted, total(), instances, len(sockets))
    changed = []
    for path in sockets:
        now = int(_ask(path, "config", "get", _OPTION)[_OPTION])
        # Small changes are not worth it; what was asked for is.
        if now != aim and (wanted is not None or abs(now - aim) > now // 10):
            _ask(path, "config", "set", _OPTION, str(aim))
            changed.append(path.name.removeprefix("ceph-").removesuffix(".asok"))
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
