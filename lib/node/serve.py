"""What the node daemon answers to the extension's calls."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ganeti_ceph import errors, rpc, steps, wire
from ganeti_ceph.disk import image, trash
from ganeti_ceph.facts import ClusterFacts, ImagesFacts, NodeFacts, Report
from ganeti_ceph.joins import apply
from ganeti_ceph.node import (
    client,
    cluster,
    collector,
    config,
    files,
    images,
    inventory,
    keys,
    look,
    members,
    mend,
    mgr,
    mon,
    osd,
)
from ganeti_ceph.rpc import (
    AskLeave,
    Call,
    CloneImages,
    CopyImage,
    DefaultPool,
    DisksFacts,
    Grant,
    LimitDisk,
    Look,
    LookAtDisks,
    LookAtImages,
    LookInTrash,
    MapImages,
    Mapped,
    Misfits,
    Objections,
    Outcome,
    Outcomes,
    Purge,
    Purged,
    ReleaseImages,
    RenameCluster,
    RenameImages,
    Restore,
    Told,
    Trash,
)
from ganeti_ceph.run import run
from ganeti_ceph.steps import Step

Answer = TypeVar("Answer")

#: What does each kind of step.
_ACTIONS: dict[type[Step], Callable[[Any], str]] = {
    steps.Configure: config.configure,
    steps.SecureKeys: keys.secure,
    steps.MakeMon: lambda step: mon.make(step, run),
    steps.StartMon: lambda step: mon.start(step, run),
    steps.Settle: cluster.settle,
    steps.MakeMgr: lambda step: mgr.make(step, run),
    steps.MakeOsd: lambda step: osd.make(step, run),
    steps.StartOsd: lambda step: osd.start(step, run),
    steps.MakeLvmOsds: lambda step: osd.make_on_lvm(step, run),
    steps.MakePool: cluster.make_pool,
    steps.MakeClient: client.make,
    steps.MakeCollector: lambda step: collector.make(step, run),
    steps.MarkOsds: members.mark,
    steps.AskStop: members.ask_stop,
    steps.PlaceHost: members.place,
    steps.HandOver: members.hand_over,
    steps.RemoveMon: members.remove_mon,
    steps.StopDaemons: lambda step: members.stop(step, run),
    steps.ForgetHost: members.forget,
    steps.DropKeys: lambda _: members.drop_keys(run),
    steps.AwaitDaemons: members.await_daemons,
    steps.AwaitHealth: cluster.await_health,
    steps.RepairGroups: mend.repair_groups,
    steps.ArchiveCrashes: mend.archive_crashes,
}


def _look(sent: Any) -> NodeFacts:
    return look.look(wire.decode(Look, sent, "what to look at"), run)


def _status(_: Any) -> ClusterFacts:
    return cluster.status()


def _report(_: Any) -> Report:
    return cluster.report()


def _keys(_: Any) -> steps.Keys:
    return config.read_keys()


def _leave(sent: Any) -> Objections:
    return members.ask(wire.decode(AskLeave, sent, "the OSDs that leave"))


def _grant(sent: Any) -> None:
    client.grant(wire.decode(Grant, sent, "what to grant"))


def _take_back(sent: Any) -> None:
    client.take_back(wire.decode(Grant, sent, "what to leave"))


def _default_pool(sent: Any) -> None:
    client.name_pool(wire.decode(DefaultPool, sent, "the pool to name"))


def _disks(sent: Any) -> DisksFacts:
    return images.look(wire.decode(LookAtDisks, sent, "the disks to look at"))


def _map(sent: Any) -> Mapped:
    return images.map_all(wire.decode(MapImages, sent, "the images to map"))


def _limit(sent: Any) -> None:
    # Only here: it needs Ganeti.
    from ganeti_ceph.disk import limits

    limits.change(wire.decode(LimitDisk, sent, "the limits to set"))


def _images(sent: Any) -> ImagesFacts:
    return inventory.look(wire.decode(LookAtImages, sent, "the images to look at"), run)


def _release(sent: Any) -> Told:
    return images.release(wire.decode(ReleaseImages, sent, "the images to release"))


def _cluster_name(sent: Any) -> Told:
    return images.tell_name(wire.decode(RenameCluster, sent, "the cluster's names"))


def _copy(sent: Any) -> None:
    asked = wire.decode(CopyImage, sent, "what to copy")
    image.copy(asked.source, asked.target, asked.data_pool)


def _rename(sent: Any) -> None:
    images.rename(wire.decode(RenameImages, sent, "the images to rename"))


def _clone(sent: Any) -> Told:
    return images.clone(wire.decode(CloneImages, sent, "what to clone"))


def _trash(sent: Any) -> Trash:
    return images.in_trash(wire.decode(LookInTrash, sent, "the trash to look into"))


def _restore(sent: Any) -> None:
    asked = wire.decode(Restore, sent, "what to restore")
    trash.restore(asked.place, asked.id, asked.name)


def _purge(sent: Any) -> Purged:
    asked = wire.decode(Purge, sent, "what to purge")
    return Purged(trash.purge(asked.place, asked.ids, asked.force))


def _misfits(_: Any) -> Misfits:
    from ganeti_ceph.joins import fit

    return fit.ask()


def _do(sent: Any) -> Outcomes:
    asked = rpc.decode_steps(sent)
    # A job that gave up, or whose master died, may have left its call behind.
    with (
        files.lock("a former run still works on this node; wait for its end"),
        ThreadPoolExecutor(max_workers=max(1, len(asked))) as pool,
    ):
        return Outcomes(tuple(pool.map(_do_one, asked)))


def _do_one(step: Step) -> Outcome:
    began = time.monotonic()
    done, error = "", None
    try:
        done = _ACTIONS[type(step)](step)
    except (errors.Error, OSError) as err:
        error = _words(err)
    except Exception as err:
        # A fault of ours: the other steps' outcomes shall not be lost with it.
        logging.exception("ganeti-ceph: step %s", step.name)
        error = f"{type(err).__name__}: {err}"
    return Outcome(step.name, time.monotonic() - began, done, error)


def _words(err: errors.Error | OSError) -> str:
    if isinstance(err, OSError) and err.filename:
        return f"{err.strerror}: {err.filename}"
    return str(err)


_ANSWERS: dict[Call[Any], Callable[[Any], Any]] = {
    rpc.LOOK: _look,
    rpc.STATUS: _status,
    rpc.REPORT: _report,
    rpc.KEYS: _keys,
    rpc.LEAVE: _leave,
    rpc.GRANT: _grant,
    rpc.TAKE_BACK: _take_back,
    rpc.DEFAULT_POOL: _default_pool,
    rpc.DISKS: _disks,
    rpc.MAP: _map,
    rpc.LIMIT: _limit,
    rpc.IMAGES: _images,
    rpc.RELEASE: _release,
    rpc.CLUSTER_NAME: _cluster_name,
    rpc.COPY: _copy,
    rpc.RENAME: _rename,
    rpc.CLONE: _clone,
    rpc.TRASH: _trash,
    rpc.RESTORE: _restore,
    rpc.PURGE: _purge,
    rpc.MISFITS: _misfits,
    rpc.DO: _do,
}


def extend_handler(handler: Any) -> None:
    """Add the extension's calls to the node daemon's request handler."""
    for call, function in _ANSWERS.items():
        setattr(handler, f"perspective_{call.name}", staticmethod(_answer(function)))
    # The node daemon answers each call in a child.
    apply.load_all()


def _answer(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Make a function one that the node daemon calls: JSON values in and out."""

    def perspective(params: Any) -> Any:
        # Only here: the node daemon has this module loaded, our tests need not.
        from ganeti import backend

        try:
            if not isinstance(params, list) or len(params) != 2:
                raise wire.WireError("the call is not of ganeti-ceph's form")
            protocol, sent = params
            if protocol != rpc.PROTOCOL:
                raise wire.WireError(
                    f"the master speaks version {protocol} of ganeti-ceph's calls, this"
                    f" node {rpc.PROTOCOL}: install the same version on all nodes"
                )
            return wire.encode(function(sent))
        except (errors.Error, OSError) as err:
            raise backend.RPCFail(_words(err)) from None

    return perspective
