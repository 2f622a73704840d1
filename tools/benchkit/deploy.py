"""How long our command takes to make a storage cluster, and a script by hand.

Both start from the same bare nodes and must come to the same cluster, which is
checked after every run; the clock is that of whoever waits for the command.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import BenchError
from .figures import comparison
from .lab import Lab, require

DISK = "/dev/disk/by-id/lab-disk-1"
POOL = "rbd"
#: What our command chooses for three OSDs and three copies.
PG_NUM = 128
COPIES = 3
MONS = 3
MGRS = 2
#: What the ratio should not exceed; nothing fails if it does.
AIM = 1.3
#: A host that is fuller than mons like is no reason for a warning here.
PARAMETERS = f"ceph:disk={DISK},conf.mon_data_avail_warn=5"
STANDBY_PATIENCE = 90.0
STATE_TAGS = "ceph:storage:"


@dataclass(frozen=True)
class Way:
    """One way to make the storage cluster."""

    title: str
    #: Makes it and returns how many seconds that took.
    make: Callable[[Lab], float]


def ours(lab: Lab) -> float:
    """Make it with our command."""
    command = ("gnt-storage", "init-distributed-storage", "-s", "ceph", "default")
    answer = lab.run(lab.nodes[0], *command)
    require(answer, " ".join(command))
    return answer.seconds


def by_hand(lab: Lab) -> float:
    """Make it with the script."""
    hosts = [f"{node}={lab.address(node)}" for node in lab.nodes]
    answer = lab.script(lab.nodes[0], "deploy.sh", DISK, POOL, str(PG_NUM), *hosts)
    require(answer, "deploy.sh")
    return answer.seconds


WAYS = (Way("gnt-storage", ours), Way("by hand", by_hand))


def deploy(lab: Lab, runs: int) -> None:
    """Run both ways in turns, print what each run took, and the ratio.

    Raises :class:`BenchError` as soon as a run fails.
    """
    lab.master("gnt-cluster", "modify", "-S", PARAMETERS)
    taken: dict[str, list[float]] = {way.title: [] for way in WAYS}
    for number in range(1, runs + 1):
        for way in WAYS:
            clean(lab)
            seconds = way.make(lab)
            check(lab)
            taken[way.title].append(seconds)
            print(f"run {number}: {way.title:12} {seconds:6.1f} s", flush=True)
    clean(lab)
    print(report(*(taken[way.title] for way in WAYS)))


def report(with_us: Sequence[float], without: Sequence[float]) -> str:
    """Return what came of all runs as text."""
    return (
        f"{comparison([way.title for way in WAYS], with_us, without)}; aim: {AIM:.2f}"
    )


def clean(lab: Lab) -> None:
    """Take the storage cluster off all nodes, and all that Ganeti knows of it."""
    lab.script_everywhere("clean.sh", DISK)
    _untag(lab, "gnt-group", "default")
    for line in lab.master("gnt-node", "list", "--no-headers", "-o", "name").split():
        _untag(lab, "gnt-node", line)
    # Ganeti's own default: so the first run writes no more than the others.
    lab.master("gnt-cluster", "modify", "-D", "rbd:access=kernelspace")


def _untag(lab: Lab, program: str, name: str) -> None:
    tags = lab.master(program, "list-tags", name).split()
    if state := [tag for tag in tags if tag.startswith(STATE_TAGS)]:
        lab.master(program, "remove-tags", name, *state)


def check(lab: Lab) -> None:
    """Raise BenchError unless the storage cluster is what both ways should make."""
    end = time.monotonic() + STANDBY_PATIENCE
    # A manager that only stands by takes its time, and no way waits for it.
    while wrong := faults(
        *(
            json.loads(lab.master("ceph", *command, "--format=json"))
            for command in (["status"], ["osd", "dump"])
        )
    ):
        if time.monotonic() > end:
            raise BenchError("not what was to be made: " + "; ".join(wrong))
        time.sleep(1)
    for node in lab.nodes:
        found = lab.run(node, "bash", "-c", _UNITS).output.split()
        if set(found) != {"enabled"}:
            raise BenchError(f"{node}: a unit of Ceph does not start at boot")


_UNITS = """\
for data in /var/lib/ceph/{mon,mgr,osd}/ceph-*; do
    if [[ -d $data ]]; then
        kind=${data%/*}
        systemctl is-enabled "ceph-${kind##*/}@${data##*/ceph-}"
    fi
done"""


def faults(status: dict[str, Any], osds: dict[str, Any]) -> list[str]:
    """Return how a storage cluster differs from what both ways should make.

    ``status`` and ``osds`` are what ``ceph status`` and ``ceph osd dump`` print.
    """
    found = []
    if status["health"]["status"] != "HEALTH_OK":
        found.append(status["health"]["status"])
    if len(status["quorum"]) != MONS:
        found.append(f"{len(status['quorum'])} mons in quorum")
    standbys = status["mgrmap"]["num_standbys"]
    if not status["mgrmap"]["available"] or standbys != MGRS - 1:
        found.append(f"{standbys} mgrs standing by")
    if not all(osd["up"] and osd["in"] for osd in osds["osds"]):
        found.append("an OSD is not up")
    wanted = (COPIES, COPIES - COPIES // 2, PG_NUM, ["rbd"])
    pools = {pool["pool_name"]: pool for pool in osds["pools"]}
    if POOL not in pools:
        return [*found, f"no pool {POOL}"]
    pool = pools[POOL]
    made = (pool["size"], pool["min_size"], pool["pg_num"])
    if (*made, list(pool["application_metadata"])) != wanted:
        found.append(f"pool {POOL} has size, min_size, pg_num {made}")
    states = {
        one["state_name"]: one["count"] for one in status["pgmap"]["pgs_by_state"]
    }
    if set(states) != {"active+clean"} or states["active+clean"] < PG_NUM:
        found.append(f"placement groups: {states}")
    return found
