"""A monitor on this node."""

import shutil
from pathlib import Path

import rados

from ganeti_ceph import ceph
from ganeti_ceph.cephconf import Mon
from ganeti_ceph.errors import CephError, ExecError
from ganeti_ceph.node import config, files, services
from ganeti_ceph.run import Runner
from ganeti_ceph.steps import MakeMon, StartMon

#: Seconds for mons that were just started to become a quorum.
_QUORUM_PATIENCE = 60


def make(step: MakeMon, run: Runner) -> str:
    """Make a mon's store if it has none, and start it."""
    store = files.daemon_dir("mon", step.id)
    if (store / "store.db").exists() and step.peers and not _is_member(step):
        # It was removed while the node was away, and would not be let in again.
        services.stop([("mon", step.id)], run)
        former = store.with_name(f".ganeti-ceph-removed-{step.id}")
        shutil.rmtree(former, ignore_errors=True)
        store.rename(former)
    if not (store / "store.db").exists():
        _mkfs(step, run)
    services.start("mon", step.id, run)
    return f"mon.{step.id} runs at {step.address}"


def start(step: StartMon, run: Runner) -> str:
    """Start a mon that has a store, and tell what quorum there is then, if any."""
    store = files.daemon_dir("mon", step.mon)
    if not (store / "store.db").exists():
        raise ExecError(f"mon.{step.mon} has no store in {store}")
    services.start("mon", step.mon, run)
    try:
        with ceph.connect(timeout=_QUORUM_PATIENCE, eager=True) as cluster:
            quorum = ceph.command(cluster, "quorum_status")["quorum_names"]
    except CephError as err:
        # What that means is for who knows of the other nodes to say.
        return f"mon.{step.mon} was started, and there is no quorum: {err}"
    return f"mon.{step.mon} was started, mons {', '.join(quorum)} are in quorum"


def _mkfs(step: MakeMon, run: Runner) -> None:
    owner = files.ceph_ids()
    store = files.daemon_dir("mon", step.id)
    # Made beside its place and moved there, so that a store is a whole one.
    unfinished = store.with_name(f".ganeti-ceph-{step.id}")
    shutil.rmtree(unfinished, ignore_errors=True)
    files.make_dir(unfinished, owner)
    with files.scratch(f"mon-{step.id}", owner) as scratch:
        monmap = scratch / "monmap"
        if step.members:
            _write_monmap(monmap, step.fsid, step.members, run)
        else:
            _fetch_monmap(monmap, step.peers)
        monmap.chmod(0o644)
        keyring = scratch / "keyring"
        files.write(keyring, config.mon_keyring(step.keys), 0o600, owner)
        run(
            [
                *("ceph-mon", "--mkfs", "--id", step.id, "--mon-data", str(unfinished)),
                *("--monmap", str(monmap), "--keyring", str(keyring)),
                *("--setuser", "ceph", "--setgroup", "ceph"),
            ]
        )
    if store.exists():
        # An empty directory of the package or of a mon that was never made.
        store.rmdir()
    unfinished.rename(store)
    files.sync_dir(store.parent)


def _write_monmap(path: Path, fsid: str, mons: tuple[Mon, ...], run: Runner) -> None:
    members = [word for mon in mons for word in ("--addv", mon.id, mon.vector)]
    run(["monmaptool", "--create", "--fsid", fsid, *members, str(path)])


def _is_member(step: MakeMon) -> bool:
    with ceph.connect(key=step.keys.admin, mons=step.peers) as cluster:
        mons = ceph.command(cluster, "mon dump")["mons"]
    return step.id in [one["name"] for one in mons]


def _fetch_monmap(path: Path, peers: tuple[Mon, ...]) -> None:
    with ceph.connect(mons=peers) as cluster:
        try:
            code, monmap, status = cluster.mon_command('{"prefix": "mon getmap"}', b"")
        except rados.Error as err:
            raise ExecError(f"the cluster does not give its monmap: {err}") from err
        if code < 0:
            raise CephError(f"the cluster does not give its monmap: {status}", -code)
    path.write_bytes(monmap)
