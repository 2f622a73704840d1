"""What this node knows without Ceph: its daemons, and Ganeti's names of the nodes."""

import re
from collections.abc import Iterator
from pathlib import Path

import psutil

from ganeti_ceph.collector.facts import Daemon, Names
from ganeti_ceph.run import Runner

#: Where Ganeti writes for everybody what all nodes are to know.
SSCONF = Path("/var/lib/ganeti")

_UNIT = re.compile(r"ceph-(mon|mgr|osd)@(.+)\.service\Z")
_PROPERTIES = ("Id", "ActiveState", "SubState", "MainPID", "NRestarts")
#: Seconds for systemd to answer.
_PATIENCE = 10


def daemons(run: Runner) -> tuple[Daemon, ...]:
    """Return the daemons of Ceph's that systemd has loaded, by kind and name.

    Raises :class:`ganeti_ceph.errors.ExecError` if systemd does not answer.
    """
    output = run(
        [
            # Those that stand still, too.
            *("systemctl", "show", "--all", f"--property={','.join(_PROPERTIES)}"),
            *(f"ceph-{kind}@*.service" for kind in ("mon", "mgr", "osd")),
        ],
        timeout=_PATIENCE,
    )
    found = filter(None, map(_daemon, _blocks(output)))
    return tuple(sorted(found, key=lambda one: (one.kind, one.name)))


def _blocks(output: str) -> Iterator[dict[str, str]]:
    for block in output.split("\n\n"):
        pairs = (line.partition("=") for line in block.splitlines())
        yield {name: value for name, _, value in pairs}


def _daemon(unit: dict[str, str]) -> Daemon | None:
    match = _UNIT.match(unit.get("Id", ""))
    if match is None:
        return None
    pid = int(unit.get("MainPID") or 0)
    daemon = Daemon(
        match[1],
        match[2],
        unit.get("ActiveState", ""),
        unit.get("SubState", ""),
        int(unit.get("NRestarts") or 0),
    )
    return _with_process(daemon, pid) if pid else daemon


def _with_process(daemon: Daemon, pid: int) -> Daemon:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            return Daemon(
                daemon.kind,
                daemon.name,
                daemon.state,
                daemon.substate,
                daemon.restarts,
                pid,
                process.create_time(),
                process.memory_info().rss,
                times.user + times.system,
            )
    except psutil.Error:
        # It ended since systemd was asked.
        return daemon


def names(folder: Path = SSCONF) -> Names:
    """Return how Ganeti calls the nodes; nothing where it says nothing."""
    by_address: dict[str, str] = {}
    for kind in ("primary", "secondary"):
        for line in _lines(folder / f"ssconf_node_{kind}_ips"):
            node, _, address = line.partition(" ")
            by_address[address.strip()] = node
    nodes = _lines(folder / "ssconf_node_list")
    return Names(
        "".join(_lines(folder / "ssconf_cluster_name")[:1]),
        tuple(sorted(by_address.items())),
        tuple((node.partition(".")[0], node) for node in nodes),
    )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    except OSError:
        # No node of a Ganeti cluster, or not one any more.
        return []
