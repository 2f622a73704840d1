"""How much memory this node's OSDs may use, and what of it instances cannot have.

An OSD takes what it is told to aim at (``osd_memory_target``), sooner or later.  What
it is sure to get is kept from instances; what it has beyond that is given back as they
need it, so it counts as free.
"""

from pathlib import Path

from ganeti_ceph.errors import ExecError
from ganeti_ceph.node import osd_socket
from ganeti_ceph.params import StorageParameters

MOST = 16 * 2**30

#: For the operating system, a mon and a mgr.
_HOST = 2 * 2**30
_STEP = 64 * 2**20
_OPTION = "osd_memory_target"


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
    sockets = osd_socket.find()
    if not sockets:
        return []
    aim = target(params, total(), instances, len(sockets))
    fixed = params.osd_memory is not None

    def tell(path: Path) -> bool:
        now = int(osd_socket.ask(path, "config get", var=_OPTION)[_OPTION])
        # Small changes are not worth it; what was asked for is.
        if now == aim or (not fixed and abs(now - aim) <= now // 10):
            return False
        osd_socket.ask(path, "config set", var=_OPTION, val=[str(aim)])
        return True

    # One that cannot be told keeps no other from it.
    told = osd_socket.ask_each(sockets, tell, "set the memory of an OSD")
    return [
        path.name.removeprefix("ceph-").removesuffix(".asok")
        for path, changed in told.items()
        if changed
    ]


def _kibibytes(text: str, name: str) -> int:
    for line in text.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise ExecError(f"the kernel does not tell {name}")
