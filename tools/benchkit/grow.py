"""How long one more node takes: our ``gnt-node add``, and stock Ganeti's with a script.

The clock is that of whoever waits; both end with the OSD up and all data in its place.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from .deploy import DISK, PARAMETERS, clean, ours
from .errors import BenchError
from .figures import comparison
from .lab import Lab, require

#: Where our command has nothing to do for the storage.
GROUP = "other"
PATIENCE = 120.0
ADD = ("gnt-node", "add", "--no-ssh-key-check")


@dataclass(frozen=True)
class Way:
    """One way to add the last node."""

    title: str
    #: Adds it and returns how many seconds that took.
    add: Callable[[Lab], float]


def with_us(lab: Lab) -> float:
    """Add it to the group with the storage."""
    begun = time.monotonic()
    lab.master(*ADD, "--node-group=default", lab.nodes[-1])
    _await_osd(lab)
    return time.monotonic() - begun


def by_hand(lab: Lab) -> float:
    """Add it to another group, and to the storage cluster with the script."""
    begun = time.monotonic()
    lab.master(*ADD, f"--node-group={GROUP}", lab.nodes[-1])
    require(lab.script(lab.nodes[0], "grow.sh", DISK, lab.nodes[-1]), "grow.sh")
    _await_osd(lab)
    return time.monotonic() - begun


WAYS = (Way("gnt-node add", with_us), Way("by hand", by_hand))


def grow(lab: Lab, runs: int) -> None:
    """Add the last node, not yet Ganeti's, in both ways in turns; print all times.

    Raises :class:`BenchError` as soon as a run fails.
    """
    lab.master("gnt-cluster", "modify", "-S", PARAMETERS)
    ours(lab)
    lab.master("gnt-group", "add", GROUP)
    taken: dict[str, list[float]] = {way.title: [] for way in WAYS}
    for number in range(1, runs + 1):
        for way in WAYS:
            seconds = way.add(lab)
            taken[way.title].append(seconds)
            print(f"run {number}: {way.title:12} {seconds:6.1f} s", flush=True)
            _forget(lab)
    lab.master("gnt-group", "remove", GROUP)
    clean(lab)
    print(comparison(list(taken), *taken.values()))


def _await_osd(lab: Lab) -> None:
    """Wait until each node has an OSD that is up, and all data is in its place."""
    end = time.monotonic() + PATIENCE
    while True:
        status = json.loads(lab.master("ceph", "status", "--format=json"))
        states = {one["state_name"] for one in status["pgmap"]["pgs_by_state"]}
        up = status["osdmap"]["num_up_osds"]
        if up == len(lab.nodes) and states == {"active+clean"}:
            return
        if time.monotonic() > end:
            raise BenchError(f"{up} OSDs are up, placement groups: {states}")
        time.sleep(0.2)


def _forget(lab: Lab) -> None:
    """Take the last node out of the storage cluster and of Ganeti's."""
    newcomer = lab.nodes[-1]
    require(lab.script(newcomer, "clean.sh", DISK), f"{newcomer}: clean.sh")
    require(lab.script(lab.nodes[0], "forget.sh", newcomer), "forget.sh")
    tags = lab.master("gnt-node", "list-tags", newcomer).split()
    if tags:
        lab.master("gnt-node", "remove-tags", newcomer, *tags)
    lab.master("gnt-node", "remove", newcomer)
    end = time.monotonic() + PATIENCE
    while lab.master("ceph", "health").strip() != "HEALTH_OK":
        if time.monotonic() > end:
            raise BenchError("the storage cluster is not healthy again")
        time.sleep(1)
