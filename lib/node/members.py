"""Daemons that come back, go or are forgotten, seen by the rest of the cluster."""

import datetime
import errno
import shutil
import time
from collections import Counter
from collections.abc import Sequence

import rados

from ganeti_ceph import ceph
from ganeti_ceph.disk.uri import DISK_USER
from ganeti_ceph.errors import CephError, ExecError
from ganeti_ceph.node import collector, crush, files, services
from ganeti_ceph.node.cluster import hosts_of_osds
from ganeti_ceph.rpc import AskLeave, Objections
from ganeti_ceph.run import Runner
from ganeti_ceph.steps import (
    AskStop,
    AwaitDaemons,
    ForgetHost,
    HandOver,
    MarkOsds,
    PlaceHost,
    RemoveMon,
    StopDaemons,
    names_of,
)

_PAUSE = 0.2
#: Seconds after which the mgr has heard of a change: two reports, and peering.
_NEWS = 15
#: Seconds after which the mons that are left agree that one was removed.
_ELECTION = 5
#: Seconds for a mgr to take over.
_MGR_TIMEOUT = 30


def ask(asked: AskLeave) -> Objections:
    """Return what Ceph has against stopping, or destroying, OSDs."""
    if not asked.osds:
        return Objections(None)
    # Other nodes' mons may just have left: that takes them a new election.
    with ceph.connect() as cluster:
        _await_news(cluster)
        end = time.monotonic() + _NEWS
        while True:
            try:
                if asked.for_ever:
                    return Objections(_objection_to_loss(cluster, asked.osds))
                ids = [str(one) for one in asked.osds]
                ceph.command(cluster, "osd ok-to-stop", ids=ids)
                return Objections(None)
            except CephError as err:
                # Ceph cannot tell while it does not know the state of all placement
                # groups, as for a moment after a mgr took over.
                known = err.errno != errno.EAGAIN
                if err.errno not in (errno.EBUSY, errno.EAGAIN):
                    raise
                if known or time.monotonic() > end:
                    return Objections(str(err))
            time.sleep(_PAUSE)


def _objection_to_loss(cluster: rados.Rados, osds: Sequence[int]) -> str | None:
    # Asked for JSON it does not fail for that: what is not on the list is not safe.
    answer = ceph.command(
        cluster, "osd safe-to-destroy", ids=[str(one) for one in osds]
    )
    unsafe = set(osds).difference(answer["safe_to_destroy"])
    if not unsafe:
        return None
    needed = [one for one in osds if one in answer["active"]]
    if needed:
        return f"placement groups are mapped to {names_of(needed)}"
    return (
        "not all placement groups are active+clean, and nobody knows what"
        f" {names_of(sorted(unsafe))} holds"
    )


def _await_news(cluster: rados.Rados) -> None:
    """Wait until the mgr has heard what became of data when OSDs went down.

    It answers from what the OSDs reported, which they do every five seconds: of two
    nodes that leave in short order it lets both go.
    """
    dump = ceph.command(cluster, "osd dump")
    # One that is out counts, too: a drained node's hold copies until it goes offline.
    if all(one["up"] for one in dump["osds"]):
        return
    # When one went down is not always told; when anything changed last is.
    changed = datetime.datetime.fromisoformat(dump["modified"]).timestamp()
    left = _NEWS - (time.time() - changed)
    if left > 0:
        time.sleep(min(left, _NEWS))


def ask_stop(step: AskStop) -> str:
    """Raise :class:`ExecError` with what Ceph has against stopping OSDs."""
    objection = ask(AskLeave(step.osds, False)).reason
    if objection:
        raise ExecError(f"data would be out of reach: {objection}")
    return f"all data can be reached without {names_of(step.osds)}"


def mark(step: MarkOsds) -> str:
    """Mark OSDs in or out."""
    with ceph.connect() as cluster:
        ceph.command(
            cluster,
            "osd in" if step.inside else "osd out",
            ids=[str(one) for one in step.osds],
        )
    return f"{names_of(step.osds)}: marked {'in' if step.inside else 'out'}"


def place(step: PlaceHost) -> str:
    """Move a host below its root of the CRUSH map; what is missing there is made."""
    with ceph.connect() as cluster:
        there = crush.places(ceph.command(cluster, "osd tree")).get(step.host)
        root = there[0] if there else ("root", "default")
        spots = [f"{kind}={spot}" for kind, spot in (root, *step.place)]
        ceph.command(cluster, "osd crush move", name=step.host, args=spots)
    return f"host {step.host} is at {' '.join(spots[1:])}"


def hand_over(step: HandOver) -> str:
    """Have another mgr become active, and wait for it."""
    end = time.monotonic() + _MGR_TIMEOUT
    with ceph.connect() as cluster:
        if ceph.command(cluster, "mgr dump")["active_name"] == step.mgr:
            ceph.command(cluster, "mgr fail", who=step.mgr)
        while True:
            active: str = ceph.command(cluster, "mgr dump")["active_name"]
            if active not in ("", step.mgr):
                return f"mgr.{active} is active"
            if time.monotonic() > end:
                raise ExecError(f"no mgr took over from mgr.{step.mgr}")
            time.sleep(_PAUSE)


def remove_mon(step: RemoveMon) -> str:
    """Take a mon out of the map; it stays if the others are no quorum without it."""
    end = time.monotonic() + _ELECTION
    with ceph.connect() as cluster:
        while True:
            mons = {one["name"] for one in ceph.command(cluster, "mon dump")["mons"]}
            if step.mon not in mons:
                break
            left = mons - {step.mon}
            if not left:
                raise ExecError(f"mon.{step.mon} is the last one")
            quorum = ceph.command(cluster, "quorum_status")["quorum_names"]
            missing = left.difference(quorum)
            if 2 * len(missing) < len(left):
                ceph.command(cluster, "mon remove", name=step.mon)
                break
            if time.monotonic() > end:
                raise ExecError(
                    f"mon.{step.mon} stays, there is no quorum without it: mons"
                    f" {', '.join(sorted(missing))} do not answer"
                )
            # Another one may just have left.
            time.sleep(_PAUSE)
    return f"mon.{step.mon} is out of the map"


def stop(step: StopDaemons, run: Runner) -> str:
    """Stop daemons of this node, also for its next boot."""
    osds = [("osd", str(one)) for one in step.osds]
    others = [("mgr", one) for one in step.mgrs] + [("mon", one) for one in step.mons]
    # An OSD tells a mon that it goes, mostly that of its node: otherwise the others
    # have to miss it, and writes wait as long.
    services.stop(osds, run)
    services.stop(others, run)
    if step.mons:
        # It is with the mons alone.
        files.ADMIN_KEYRING.unlink(missing_ok=True)
    names = [f"{kind}.{name}" for kind, name in osds + others]
    if step.collector:
        collector.remove(run)
        names.append("the collector")
    return f"{', '.join(names)} stopped"


def forget(step: ForgetHost) -> str:
    """Purge a host's OSDs, if that loses nothing, and what else names the host."""
    with ceph.connect() as cluster:
        known = {one["osd"] for one in ceph.command(cluster, "osd dump")["osds"]}
        osds = [one for one in step.osds if one in known]
        objection = _objection_to_loss(cluster, osds) if osds else None
        if objection:
            raise ExecError(objection)
        for one in osds:
            ceph.command(cluster, "osd purge-actual", id=one, yes_i_really_mean_it=True)
        names = {node["name"] for node in ceph.command(cluster, "osd tree")["nodes"]}
        if step.host in names:
            # Refused while something is in it.
            ceph.command(cluster, "osd crush remove", name=step.host)
        # Not an error where there is none.
        ceph.command(cluster, "auth rm", entity=f"mgr.{step.host}")
    return f"host {step.host} is forgotten"


def drop_keys(run: Runner) -> str:
    """Delete what opens the storage cluster, and what could start it here."""
    found = [
        (kind, path)
        for kind in ("mon", "mgr")
        for pattern in ("ceph-*", ".ganeti-ceph-*")
        for path in sorted((files.DATA / kind).glob(pattern))
    ]
    # It may have been dead when it was taken offline.
    running = [(kind, path.name) for kind, path in found if path.name[0] != "."]
    services.stop([(kind, name.removeprefix("ceph-")) for kind, name in running], run)
    if files.keyring(collector.USER).exists():
        collector.remove(run)
    for _, path in found:
        shutil.rmtree(path)
    # The one that registers OSDs is the cluster's own, and of an OSD that never ran the
    # key may be known still; what disks carry is not touched.
    keys = [
        path
        for pattern in ("bootstrap-*/*keyring*", "osd/ceph-*/*keyring*")
        for path in sorted(files.DATA.glob(pattern))
    ]
    for path in (*keys, files.ADMIN_KEYRING, files.keyring(DISK_USER)):
        path.unlink(missing_ok=True)
    return "no key of the storage cluster is there any more"


def await_daemons(step: AwaitDaemons) -> str:
    """Wait until daemons serve; data may move for much longer."""
    end = time.monotonic() + step.timeout
    with ceph.connect(eager=True) as cluster:
        while True:
            missing = _missing(cluster, step)
            if not missing:
                break
            if time.monotonic() > end:
                raise ExecError(f"after {step.timeout} s still down: {missing}")
            time.sleep(_PAUSE)
        health = ceph.command(cluster, "health")
    checks = [
        check["summary"]["message"]
        for _, check in sorted(health["checks"].items())
        if not check.get("muted")
    ]
    return "; ".join([f"all daemons are up, {health['status']}", *checks])


def _missing(cluster: rados.Rados, step: AwaitDaemons) -> str:
    quorum = ceph.command(cluster, "quorum_status")["quorum_names"]
    missing = [f"mon.{one}" for one in step.mons if one not in quorum]
    dump = ceph.command(cluster, "osd dump")["osds"]
    up = {one["osd"] for one in dump if one["up"]}
    hosts = hosts_of_osds(cluster)
    running = Counter(host for osd, host in hosts.items() if osd in up)
    for host, count in step.osds:
        here = running[host]
        if here < count:
            missing.append(f"{count - here} of {count} OSDs of {host}")
    return ", ".join(missing)
