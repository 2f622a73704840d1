"""How fast disks are: their I/O, their making and removing, starts, verification."""

from collections.abc import Callable, Sequence

from . import deploy
from .disk_defaults import measure_defaults
from .disk_io import measure_guest, measure_io
from .disk_life import measure_life, measure_start, measure_verify
from .lab import Lab

PARTS: dict[str, Callable[[Lab, int], None]] = {
    "io": measure_io,
    "guest": measure_guest,
    "defaults": measure_defaults,
    "create": measure_life,
    "start": measure_start,
    "verify": measure_verify,
}


def disk(lab: Lab, runs: int, parts: Sequence[str]) -> None:
    """Measure some parts; the storage cluster is there already or is made.

    Raises :class:`BenchError` as soon as a run fails.
    """
    if lab.run(lab.nodes[0], "ceph", "--connect-timeout=5", "fsid").code != 0:
        lab.master("gnt-cluster", "modify", "-S", deploy.PARAMETERS)
        deploy.ours(lab)
    for name in parts:
        print(f"== {name}", flush=True)
        PARTS[name](lab, runs)
