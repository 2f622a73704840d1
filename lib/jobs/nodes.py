"""What Ganeti's jobs on nodes, groups and the cluster do to the storage cluster.

Ceph is asked, and what stands against it refused, when a job checks whether it may be
done; the storage cluster is changed before Ganeti writes its own change down.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from ganeti import errors as ganeti_errors
from ganeti import locking
from ganeti.rpc import node as ganeti_rpc

from ganeti_ceph import leave, plan, rpc, state, wire
from ganeti_ceph.errors import PrereqError
from ganeti_ceph.facts import ClusterFacts, Report
from ganeti_ceph.jobs.base import describe, ganeti_terms, retag, run_stages
from ganeti_ceph.jobs.survey import (
    ByName,
    Storage,
    ask_cluster,
    find_keys,
    find_storage,
    half_made,
    look_at,
    refuse_silence,
)
from ganeti_ceph.plan import Node, Stage
from ganeti_ceph.rpc import AskLeave
from ganeti_ceph.state import Phase
from ganeti_ceph.steps import DropKeys, Keys, StopDaemons


@dataclasses.dataclass(frozen=True)
class View:
    """One node of the storage cluster, and the others."""

    storage: Storage
    node: Any
    #: The name that Ceph knows it by, whatever it calls itself today.
    host: str
    #: What the node tells; None if it does not answer.
    facts: Node | None
    others: list[Node]
    #: Names of nodes that did not answer.
    away: list[str]
    #: Hosts of other nodes that are offline.
    offline: list[str]
    cluster: ClusterFacts
    #: Why the node does not answer, None if it does.
    silence: str | None

    def acting(self) -> str:
        """Return the UUID of another node that can act for the storage cluster."""
        able = [one for one in self.others if one.facts.has_keys]
        able.sort(key=lambda one: one.host not in self.cluster.quorum)
        if not able:
            raise PrereqError(
                f"no other node than {self.node.name} has a mon and answers"
            )
        return able[0].uuid


def _storage(unit: Any, phase: Phase = Phase.READY) -> Storage | None:
    groups = {
        uuid: (group.name, group.GetTags())
        for uuid, group in unit.cfg.GetAllNodeGroupsInfo().items()
    }
    return find_storage(groups, unit.cfg.GetClusterInfo().GetTags(), phase)


def _members(unit: Any, storage: Storage) -> list[Any]:
    group = unit.cfg.GetNodeGroup(storage.group)
    return [unit.cfg.GetNodeInfo(uuid) for uuid in sorted(group.members)]


def _member(unit: Any, node: Any) -> Storage | None:
    """Return the storage cluster if a node is part of it, or may be in parts."""
    storage = _storage(unit)
    if storage is None or node.group != storage.group:
        return None
    return storage if _is_part(node) else None


def _half_made(unit: Any, node: Any) -> str | None:
    """Return the sentence if a node may hold a part of an unfinished storage cluster.

    It cannot leave then: of what is half made Ceph cannot tell what would be lost.
    """
    begun = _storage(unit, Phase.INITIALISING)
    if begun is None or node.group != begun.group or not _is_part(node):
        return None
    return half_made(begun.name)


def _is_part(node: Any) -> bool:
    tags = node.GetTags()
    return state.NODE_READY in tags or state.NODE_JOINING in tags


def _mark(node: Any) -> str:
    tags = node.GetTags()
    return state.NODE_READY if state.NODE_READY in tags else state.NODE_JOINING


def _view(unit: Any, storage: Storage, node: Any) -> View:
    """Ask the node, the others and the storage cluster; all of them at once."""
    members = _members(unit, storage)
    online = [one for one in members if not one.offline]
    nodes, silent = look_at(unit.rpc, online, storage.params)
    cluster, silence = ask_cluster(unit.rpc, nodes)
    if cluster is None:
        raise PrereqError(
            f"the storage cluster does not answer, so it cannot be asked whether it can"
            f" do without {node.name}: {silence}; 'gnt-storage repair' starts its mons"
        )
    facts = next((one for one in nodes if one.uuid == node.uuid), None)
    return View(
        storage,
        node,
        _host(node),
        facts,
        [one for one in nodes if one.uuid != node.uuid],
        [one.name for one in silent if one.uuid != node.uuid],
        [_host(one) for one in members if one.offline and one.uuid != node.uuid],
        cluster,
        next((one.error for one in silent if one.uuid == node.uuid), None),
    )


def _host(node: Any) -> str:
    return str(node.name.partition(".")[0])


def _ask(unit: Any, view: View, osds: Sequence[int], for_ever: bool) -> str | None:
    if not osds:
        return None
    acting = view.acting()
    sent = wire.encode(AskLeave(tuple(osds), for_ever))
    reply = rpc.call(unit.rpc, rpc.LEAVE, {acting: sent})[acting]
    if reply.answer is None:
        raise PrereqError(f"Ceph cannot be asked about {view.node.name}: {reply.error}")
    return reply.answer.reason


def _refuse(what: str, found: Sequence[str], how: str = "") -> None:
    if found:
        raise PrereqError(f"{what}: " + "; ".join(found) + how)


def _names(unit: Any) -> list[Any]:
    return list(unit.cfg.GetAllNodesInfo().values())


def _by_name(unit: Any) -> list[Any]:
    """Return the nodes as those are that are called by their names."""
    return [_called_by_name(one) for one in _names(unit)]


def _called_by_name(node: Any) -> ByName:
    return ByName(node.name, node.primary_ip, node.secondary_ip, node.GetTags())


def _tell_plan(unit: Any) -> None:
    """With ``--dry-run``, say what would be done; Ganeti ends the job after this."""
    if unit.op.dry_run:
        for line in describe(unit.ceph_stop, _by_name(unit)):
            unit.proc.Log(line)
        for line in describe(unit.ceph_stages, _names(unit)):
            unit.proc.Log(line)


# gnt-node modify


def lock_groups(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Let two nodes leave one after the other, each asking what is left then."""
    unit = instance
    result = wrapped(*args, **kwargs)
    op = unit.op
    # One that becomes able to be the master may be a candidate then, drained no more.
    roles = (op.offline, op.drained, op.master_candidate, op.master_capable)
    if roles == (None,) * len(roles):
        return result
    with ganeti_terms():
        storage = _member(unit, unit.cfg.GetNodeInfo(op.node_uuid))
        if storage:
            unit.needed_locks[locking.LEVEL_NODEGROUP] = [storage.group]
            unit.share_locks[locking.LEVEL_NODEGROUP] = 0
    return result


def check_modification(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Refuse what the storage cluster cannot bear, and plan the rest."""
    unit = instance
    result = wrapped(*args, **kwargs)
    unit.ceph_stages = ()
    unit.ceph_stop = ()
    unit.ceph_note = None
    #: The OSDs that a drain marks out, and those of one that was not finished.
    unit.ceph_drained = None
    unit.ceph_undrained = False
    op = unit.op
    node = unit.cfg.GetNodeInfo(op.node_uuid)
    with ganeti_terms():
        begun = _half_made(unit, node) if op.offline else None
        if begun and not op.force:
            raise PrereqError(
                f"{node.name} cannot be taken offline: {begun}; --force marks a dead"
                " node offline, and the storage cluster stays as it is"
            )
        if begun:
            unit.LogWarning("the storage cluster is left as it is: %s", begun)
        storage = _member(unit, node)
        if storage is None:
            return result
        if op.secondary_ip not in (None, node.secondary_ip):
            raise PrereqError(
                f"the storage daemons of {node.name} listen at its addresses; take it"
                " out of the storage cluster first ('gnt-node remove'), and add it"
                " again with the new address"
            )
        was, will = unit.old_role, unit.new_role
        if op.offline:
            unit.ceph_stages = _offline(unit, storage, node)
        elif was == unit._ROLE_OFFLINE and will != was:
            unit.ceph_note = (
                f"the storage daemons of {node.name} are still stopped; 'gnt-storage"
                f" repair {node.name}' brings them back"
            )
        elif op.drained or (was == unit._ROLE_DRAINED and will != was):
            unit.ceph_stages = _drain(unit, storage, node, bool(op.drained))
        if (
            unit.ceph_stop or unit.ceph_stages
        ) and storage.group not in unit.owned_locks(locking.LEVEL_NODEGROUP):
            raise PrereqError(
                f"{node.name} became part of the storage cluster meanwhile; run the"
                " command again"
            )
    _tell_plan(unit)
    return result


def modify(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Change the storage cluster, then the node."""
    unit = instance
    feedback = args[0] if args else kwargs["feedback_fn"]
    if unit.ceph_drained is not None:
        # First: a second run does not see any more what the first marked out.
        _note_drained(unit, unit.ceph_drained, feedback)
    try:
        _run(unit, feedback, _command(unit.op))
    except ganeti_errors.OpExecError as err:
        # The instances of a dead node fail over only once Ganeti has it offline.
        if not (unit.op.offline and unit.op.force):
            raise
        unit.LogWarning("%s", err)
    if unit.ceph_undrained:
        _note_drained(unit, None, feedback)
    result = wrapped(*args, **kwargs)
    if unit.ceph_note:
        unit.LogWarning(unit.ceph_note)
    return result


def _note_drained(
    unit: Any, osds: frozenset[int] | None, feedback: Callable[[str], None]
) -> None:
    """Write down which OSDs are out as their node is drained, None for no drain."""
    node = unit.cfg.GetNodeInfo(unit.op.node_uuid)
    tags = {_mark(node)} if osds is None else {_mark(node), *state.drained_tags(osds)}
    retag(unit.cfg, node, frozenset(tags), feedback)


def _command(op: Any) -> str:
    """Return the command of a modification, as far as it is about the storage."""
    words = ["gnt-node", "modify", *(["--force"] if op.force else [])]
    # Ganeti sets the last one itself, too, for a node that it makes a candidate again.
    for name in ("offline", "drained", "master_capable", "master_candidate"):
        value = getattr(op, name)
        if value is not None:
            words.append(f"--{name.replace('_', '-')}={'yes' if value else 'no'}")
            break
    return " ".join([*words, op.node_name])


def _run(unit: Any, feedback: Callable[[str], None], again: str) -> None:
    with ganeti_terms():
        if unit.ceph_stop:
            # Ganeti calls no node that is offline otherwise.
            runner = ganeti_rpc.DnsOnlyRunner()
            run_stages(runner, unit.ceph_stop, _by_name(unit), feedback, again)
        run_stages(unit.rpc, unit.ceph_stages, _names(unit), feedback, again)


def _view_unless_forced(
    unit: Any, storage: Storage, node: Any, mark: str
) -> View | None:
    """Return the view, None where there is none and the administrator knows of it."""
    try:
        return _view(unit, storage, node)
    except PrereqError as err:
        if not unit.op.force:
            raise PrereqError(
                f"{err}; --force {mark}, and the storage cluster stays as it is"
            ) from None
        unit.LogWarning("the storage cluster is left as it is: %s", err)
        return None


def _offline(unit: Any, storage: Storage, node: Any) -> tuple[Stage, ...]:
    view = _view_unless_forced(unit, storage, node, "marks it offline")
    if view is None:
        return ()
    if node.offline:
        here = leave.osds_of(view.cluster, view.host)
        runs = view.host in view.cluster.quorum or any(osd.up for osd in here)
        counts = view.host in {mon.id for mon in view.cluster.mons}
        if not (runs or counts or any(osd.inside for osd in here)):
            return ()
        if runs:
            # It has come back, and systemd started what is there.
            view = _look_by_name(view)
    _refuse(
        f"{node.name} cannot be taken offline",
        leave.quorum_refusals(view.cluster, view.host, view.offline),
    )
    ids = {osd.id for osd in leave.osds_of(view.cluster, view.host)}
    if view.facts:
        # Those, too, that have run elsewhere before.
        ids |= {one.id for one in view.facts.facts.osds if one.fsid == storage.fsid}
    up = [osd.id for osd in view.cluster.osds if osd.id in ids and osd.up]
    try:
        objection = _ask(unit, view, up, False)
    except PrereqError as err:
        # Of a dead mgr, for example, of which there may be no other.
        objection = str(err)
    found = leave.offline_refusals(
        *(view.cluster, view.host, objection, len(view.others), view.away),
        *(view.silence, view.offline),
    )
    if not unit.op.force:
        _refuse(
            f"{node.name} cannot be taken offline", found, "; --force does it anyway"
        )
    for reason in found:
        unit.LogWarning("%s: %s", node.name, reason)
    # Of one that is offline already nothing shall be waited for.
    stays = view.facts is not None and not node.offline
    nodes = [*view.others, *([view.facts] if view.facts and stays else [])]
    before: tuple[Stage, ...] = ()
    mons: tuple[str, ...] = leave.mons_to_remove(
        view.cluster, view.host, stays, False, view.offline
    )
    try:
        keys = _keys(unit, view, nodes)
        if view.others:
            rest = leave.without(view.cluster, view.host, (view.host,))
            chosen = plan.choose_mons(view.others, storage.params, rest)
            moved = len(chosen) > len(rest.mons)
            mons = leave.mons_to_remove(
                view.cluster, view.host, stays, moved, view.offline
            )
            before = _without(view, mons, keys)
    except (PrereqError, ValueError) as err:
        if not unit.op.force:
            raise PrereqError(f"{err}; --force makes nothing in its place") from None
        unit.LogWarning("nothing is made in the place of %s: %s", node.name, err)
    daemons = None
    if view.facts:
        facts = view.facts.facts
        ours = [one.id for one in facts.osds if one.fsid == storage.fsid]
        daemons = StopDaemons(facts.mons, facts.mgrs, tuple(ours), facts.has_collector)
    if view.facts and daemons and node.offline:
        acting = next(one.name for one in view.others if one.uuid == view.acting())
        asked = () if unit.op.force else tuple(up)
        unit.ceph_stop = leave.stop_stages(view.facts.uuid, acting, daemons, asked)
    return leave.offline_stages(
        view.cluster,
        view.host,
        view.facts.uuid if view.facts and stays else None,
        view.acting(),
        daemons,
        before,
        mons,
        () if unit.op.force else tuple(up),
    )


def _keys(unit: Any, view: View, nodes: Sequence[Node]) -> Keys:
    keys = find_keys(unit.rpc, nodes, view.cluster, view.away)
    if keys is None:
        raise PrereqError("no node that answers has a mon of the storage cluster")
    return keys


def _without(view: View, mons: Sequence[str], keys: Keys) -> tuple[Stage, ...]:
    """Return what the other nodes lack without a node, and without these mons."""
    storage = view.storage
    rest = leave.without(view.cluster, view.host, mons)
    return plan.plan(
        *(view.others, storage.params, storage.fsid, keys, False, rest),
        *(frozenset(), True),
    ).stages


def _look_by_name(view: View) -> View:
    """Return the view with what an offline node tells, which Ganeti does not ask."""
    node = _called_by_name(view.node)
    runner = ganeti_rpc.DnsOnlyRunner()
    found, silent = look_at(runner, [node], view.storage.params)
    return dataclasses.replace(
        view,
        facts=next(iter(found), None),
        silence=next((one.error for one in silent), None),
    )


def _drain(unit: Any, storage: Storage, node: Any, drained: bool) -> tuple[Stage, ...]:
    mark = "marks it drained" if drained else "takes the mark off"
    view = _view_unless_forced(unit, storage, node, mark)
    if view is None:
        return ()
    if drained and not unit.op.force:
        _refuse(
            f"the data on {node.name} cannot move away",
            leave.drain_refusals(view.cluster, view.host, _report(unit, view)),
            "; --force drains it for new instances, and lowers the number of copies",
        )
    marked = state.drained_osds(node.GetTags())
    if drained:
        out = leave.osds_of(view.cluster, view.host)
        here = {one.id for one in out if one.inside and not one.new}
        unit.ceph_drained = frozenset(here | (marked or frozenset()))
    else:
        unit.ceph_undrained = True
    return leave.drain_stages(
        *(view.cluster, view.host, view.acting(), drained, marked)
    )


def _report(unit: Any, view: View) -> Report:
    acting = view.acting()
    reply = rpc.call(unit.rpc, rpc.REPORT, {acting: None})[acting]
    if reply.answer is None:
        raise PrereqError(f"Ceph cannot be asked how full it is: {reply.error}")
    return reply.answer


# gnt-node remove


def check_removal(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Refuse to remove a node that the storage cluster needs."""
    unit = instance
    result = wrapped(*args, **kwargs)
    unit.ceph_stages = ()
    unit.ceph_stop = ()
    with ganeti_terms():
        begun = _half_made(unit, unit.node)
        if begun:
            raise PrereqError(
                f"{unit.node.name} cannot be removed: {begun}; if the node is gone for"
                f" ever, take its mark off first ('gnt-node remove-tags"
                f" {unit.node.name} {_mark(unit.node)}')"
            )
        storage = _member(unit, unit.node)
        if storage is None:
            return result
        try:
            view = _view(unit, storage, unit.node)
        except PrereqError as err:
            raise PrereqError(
                f"{err}; if it is gone for ever, take the mark off the node first"
                f" ('gnt-node remove-tags {unit.node.name} {_mark(unit.node)}')"
            ) from None
        osds = leave.osds_of(view.cluster, view.host)
        objection = None
        if unit.node.offline and not any(osd.up for osd in osds):
            objection = _ask(unit, view, [osd.id for osd in osds], True)
        _refuse(
            f"{unit.node.name} cannot be removed",
            leave.remove_refusals(
                view.cluster, view.host, unit.node.offline, objection
            ),
        )
        unit.ceph_stages = leave.remove_stages(
            view.cluster, view.host, view.acting(), _instead(unit, view)
        )
    _tell_plan(unit)
    return result


def _instead(unit: Any, view: View) -> tuple[Stage, ...]:
    """Return what the other nodes lack once the node is forgotten."""
    try:
        return _without(view, (view.host,), _keys(unit, view, view.others))
    except (PrereqError, ValueError) as err:
        unit.LogWarning("nothing is made in the place of %s: %s", view.node.name, err)
        return ()


def remove(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Have the storage cluster forget the node, then Ganeti."""
    unit = instance
    feedback = args[0] if args else kwargs["feedback_fn"]
    _run(unit, feedback, f"gnt-node remove {unit.node.name}")
    if unit.ceph_stages:
        _drop_keys(unit)
    return wrapped(*args, **kwargs)


def _drop_keys(unit: Any) -> None:
    """Leave no key on a node that has left; one that is dead keeps what it has."""
    name = unit.node.name
    step = DropKeys()
    # It is offline, and Ganeti calls those by their names at the most.
    runner = ganeti_rpc.DnsOnlyRunner()
    sent = {name: rpc.encode_steps((step,))}
    reply = rpc.call(runner, rpc.DO, sent, step.limit)[name]
    outcomes = reply.answer.steps if reply.answer else ()
    error = next((one.error for one in outcomes if one.error), reply.error)
    if error:
        unit.LogWarning(
            "%s still has keys of the storage cluster, which open the disks of all"
            " instances: erase its disks before anybody else gets them (%s)",
            name,
            error,
        )


# gnt-node add


def check_addition(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Refuse a node that could not become part of the storage of its group."""
    unit = instance
    result = wrapped(*args, **kwargs)
    with ganeti_terms():
        storage = _storage(unit)
        if storage is None or unit.node_group != storage.group:
            return result
        online = [
            one
            for one in _members(unit, storage)
            if not one.offline and one.name != unit.new_node.name
        ]
        nodes, _ = look_at(unit.rpc, online, storage.params)
        # Ganeti does not know the node yet, or takes it for offline.
        runner = ganeti_rpc.DnsOnlyRunner()
        new = unit.new_node
        # Of one that comes back Ganeti writes a new address down only later.
        newcomer = ByName(
            new.name, unit.op.primary_ip, unit.op.secondary_ip, new.GetTags()
        )
        if newcomer.primary_ip != new.primary_ip and _is_part(new):
            _refuse_address(new, newcomer.primary_ip, storage)
        (found, silent) = look_at(runner, [newcomer], storage.params)
        refuse_silence(silent)
        reasons = plan.refusals(
            [*nodes, *found],
            storage.params,
            storage.fsid,
            ready=True,
            joining={newcomer.uuid},
        )
        cluster, _ = ask_cluster(unit.rpc, nodes)
        if cluster is not None:
            for one in found:
                reasons += plan.removed_osds(one, storage.params, storage.fsid, cluster)
        if unit.op.readd:
            # Only a node that Ganeti knows can have tags that say where it stands.
            reasons += plan.unplaced(found, storage.params)
        if reasons:
            raise PrereqError("\n".join(reasons))
    return result


def _refuse_address(node: Any, address: str, storage: Storage) -> None:
    """Refuse an address that the daemons of a node that comes back do not have."""
    if storage.params.public_network is None:
        raise PrereqError(
            f"{node.name} has the address {address} now, and its storage daemons are"
            f" known at {node.primary_ip}: give it that one back, or take it out of the"
            f" storage cluster first ('gnt-node remove {node.name}'), and add it again"
        )


# gnt-group assign-nodes, gnt-cluster destroy


def check_assignment(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Let only offline nodes into the group with the storage, and no daemons out."""
    unit = instance
    result = wrapped(*args, **kwargs)
    with ganeti_terms():
        moving = [
            node
            for node in map(unit.cfg.GetNodeInfo, unit.op.node_uuids)
            if node.group != unit.group_uuid
        ]
        for node in moving:
            begun = _half_made(unit, node)
            if begun:
                raise PrereqError(f"{node.name} cannot leave its group: {begun}")
        storage = _storage(unit)
        if storage is None:
            return result
        for node in moving:
            if unit.group_uuid == storage.group and not node.offline:
                raise PrereqError(
                    f"{node.name} is online, and group {storage.name} is part of a"
                    f" storage cluster: take it offline ('gnt-node modify --offline=yes"
                    f" {node.name}'), assign it, and bring it back as a part of the"
                    f" storage ('gnt-node add --readd {node.name}')"
                )
            if _is_part(node):
                raise PrereqError(
                    f"{node.name} is part of the storage cluster of group"
                    f" {storage.name}; only 'gnt-node remove' takes it out, then"
                    " it may be added to another group"
                )
    return result


def check_destruction(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Refuse to destroy a cluster that has a storage cluster."""
    unit = instance
    result = wrapped(*args, **kwargs)
    for group in unit.cfg.GetAllNodeGroupsInfo().values():
        with ganeti_terms():
            found = state.group_state(group.GetTags())
        if found is not None and found.phase is not Phase.MARKED:
            raise ganeti_errors.OpPrereqError(
                f"node group {group.name} has the storage cluster {found.fsid}, whose"
                " data would be left without an owner; if it is to go, take its daemons"
                " off the nodes first, then its mark off the group ('gnt-group"
                f" remove-tags {group.name} {found.tag()}')",
                ganeti_errors.ECODE_STATE,
            )
    return result
