"""What the collector costs: by sample, by scrape, in memory, and beside ceph-mgr's."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .deploy import DISK
from .errors import BenchError
from .lab import Lab, require

IMAGES = 10_000
OSDS = (3, 100, 1_000, 10_000)
#: Seconds of a processor that the largest sample should not exceed; nothing fails if
#: it does, here and below.
AIM = 1.0
#: OSDs, images and samples of the run that looks at memory.
MEMORY = (100, 1_000, 1_000)
#: Scrapes in a second on one processor.
SCRAPES_AIM = 200
#: Seconds of serving, and of each way of measuring in the lab.
SERVE = 5
SIDE = 60
#: Seconds between two scrapes, and from one sample to the next.
PERIOD = 15
#: Seconds in which managers start anew, and how often one may be made the active one.
RESTART = 10
TRIES = 6
#: Numbers that both tell, by our name and theirs; they do not change by themselves.
#: Newer modules leave out what daemons count, such as the size of an OSD.
SAME = {
    "ganeti_ceph_health_status": "ceph_health_status",
    "ganeti_ceph_raw_size_bytes": "ceph_cluster_total_bytes",
    "ganeti_ceph_osd_up": "ceph_osd_up",
    "ganeti_ceph_osd_in": "ceph_osd_in",
}


def collector(lab: Lab, runs: int) -> None:
    """Measure in a lab with storage, which is made if there is none, and print it."""
    node = lab.nodes[0]
    if lab.run(node, "test", "-e", "/etc/ceph/ceph.conf").code != 0:
        lab.master("gnt-cluster", "modify", "-S", f"ceph:disk={DISK}")
        lab.master("gnt-storage", "init-distributed-storage", "-s", "ceph", "default")

    def ask(name: str, *words: object) -> Any:
        answer = lab.script(node, name, *map(str, words), program="python3")
        return json.loads(require(answer, name))

    for number in range(1, runs + 1):
        taken = ask("collector.py", "sample", IMAGES, *OSDS)
        print(f"run {number}:\n{report_samples(taken)}", flush=True)
    print(report_memory(ask("collector.py", "memory", *MEMORY)), flush=True)
    print(report_serving(ask("collector.py", "serve", SERVE)), flush=True)
    print(report_sides(_sides(lab, ask)), flush=True)


def _sides(lab: Lab, ask: Callable[..., Any]) -> dict[str, Any]:
    """Measure on the node whose collector leads, which asks most, and that has the mgr.

    Of the collectors and ceph-mgr's module only one is on at a time.
    """
    node = lab.nodes[0]
    _have_active(lab, node)

    def measure(url: str, names: Iterable[str] = ()) -> Any:
        return ask("mgr_prometheus.py", SIDE, PERIOD, url, *names)

    def collectors(verb: str) -> None:
        for one in lab.nodes:
            answer = lab.run(one, "systemctl", verb, "ganeti-ceph-collector")
            require(answer, f"{one}: {verb} the collector")

    taken = {"collector": measure(f"http://{node}:1816/metrics", SAME)}
    collectors("stop")
    taken["nothing"] = measure("-")
    lab.master("ceph", "mgr", "module", "enable", "prometheus")
    try:
        # The managers start anew for it, and another one may be first.
        time.sleep(RESTART)
        _have_active(lab, node)
        taken["module"] = measure(f"http://{node}:9283/metrics", SAME.values())
    finally:
        lab.master("ceph", "mgr", "module", "disable", "prometheus")
        collectors("start")
    return taken


def _have_active(lab: Lab, node: str) -> None:
    """Make a node's manager the active one; raises :class:`BenchError` in vain."""
    for _ in range(TRIES):
        if json.loads(lab.master("ceph", "mgr", "stat"))["active_name"] == node:
            return
        lab.master("ceph", "mgr", "fail")
        time.sleep(RESTART)
    raise BenchError(f"the manager on {node} does not become the active one")


def report_samples(taken: Mapping[str, Any]) -> str:
    """Return what samples took as text."""
    lines = []
    for osds in OSDS:
        one = taken[str(osds)]
        lines.append(
            f"  {osds:6} OSDs, {IMAGES} images: {one['seconds']:.3f} s of a processor"
            f" ({one['read']:.3f} s to read), {one['questions']} questions,"
            f" {one['metrics'] / 2**20:.1f} MiB of metrics,"
            f" {one['reports'] / 2**20:.1f} MiB of reports"
        )
    few, middle, most = (taken[str(osds)]["seconds"] for osds in (OSDS[0], *OSDS[2:]))
    growth = (most - few) / (middle - few) * (OSDS[2] - OSDS[0]) / (OSDS[3] - OSDS[0])
    lines[-1] += f" (aim: {AIM:.0f} s; an OSD more costs {growth:.2f} of one before)"
    return "\n".join(lines)


def report_memory(taken: list[float]) -> str:
    """Return the memory after tenths of many samples as text."""
    osds, images, samples = MEMORY
    shown = ", ".join(f"{one:.1f}" for one in taken)
    return (
        f"memory over {samples} samples of {osds} OSDs and {images} images: {shown} MiB"
        f" ({taken[-1] - taken[0]:+.1f})"
    )


def report_serving(taken: Mapping[str, Any]) -> str:
    """Return how many scrapes were served as text."""
    lines = ["scrapes in a second, and in a second of the server's processor:"]
    for name, one in taken.items():
        osds, way = name.split()
        connection = "one connection" if way == "kept" else "a connection each"
        lines.append(
            f"  {osds} OSDs ({one['bytes'] / 1024:.0f} KiB), {connection}:"
            f" {one['second']:.0f}, {one['processor']:.0f}"
        )
    lines[-1] += f" (aim: {SCRAPES_AIM})"
    return "\n".join(lines)


def report_sides(taken: Mapping[str, Any]) -> str:
    """Return what the collector and ceph-mgr's own module cost as text."""
    base = taken["nothing"]["mgr"]
    lines = [
        f"beside ceph-mgr's own, scraped every {PERIOD} s, in milliseconds of a"
        " processor by second:"
    ]
    for way in ("collector", "module"):
        one = taken[way]
        lines.append(
            f"  {way:9}: {1000 * (one['mgr'] - base):.1f} more in the mgr,"
            f" {1000 * one['collector']:.1f} in the collector,"
            f" {one['bytes'] / 1024:.0f} KiB a scrape"
        )
    lines.append(f"  {'nothing':9}: {1000 * base:.1f} in the mgr")
    both = zip(taken["collector"]["values"], taken["module"]["values"], strict=True)
    wrong = [
        name for name, (ours, theirs) in zip(SAME, both, strict=True) if ours != theirs
    ]
    lines.append(f"  numbers that differ: {', '.join(wrong) or 'none'}")
    return "\n".join(lines)
