"""Making a node group's storage cluster, or finishing one that was begun."""

import time
import uuid as uuids
from collections.abc import Callable
from typing import Any

from ganeti import constants, locking

from ganeti_ceph import params, plan, rpc, secret, state, wire
from ganeti_ceph.disk import config, uri
from ganeti_ceph.errors import PrereqError, UsageError
from ganeti_ceph.facts import ClusterFacts
from ganeti_ceph.jobs.base import StorageUnit, run_stages
from ganeti_ceph.params import StorageParameters
from ganeti_ceph.plan import Node, Plan
from ganeti_ceph.rpc import Look
from ganeti_ceph.state import GroupState, Phase
from ganeti_ceph.steps import Keys

NOTHING_TO_DO = "there is nothing to do"


class LUInitDistributedStorage(StorageUnit):
    """Make mons, mgrs, OSDs and the pool on the nodes of a group."""

    def ExpandNames(self) -> None:
        """Find the group; lock all groups, and its nodes."""
        super().ExpandNames()
        self.group_uuid = self.cfg.LookupNodeGroup(self.options.get("node_group", ""))
        self.needed_locks[locking.LEVEL_NODE] = []

    def DeclareLocks(self, level: int) -> None:
        """Lock the nodes of the group, which is locked by now."""
        if level == locking.LEVEL_NODE:
            group = self.cfg.GetNodeGroup(self.group_uuid)
            self.needed_locks[level] = list(group.members)

    def check(self) -> None:
        """Ask all nodes, refuse what must not be done, and plan the rest."""
        wanted = self.options.get("storage_type")
        if wanted not in list(params.StorageType):
            raise UsageError(
                f"unknown storage type '{wanted}', there is:"
                f" {', '.join(params.StorageType)}"
            )
        self.group = self.cfg.GetNodeGroup(self.group_uuid)
        self.again = f"gnt-storage init-distributed-storage -s ceph {self.group.name}"
        other = self.storage_group()
        if other is not None and other[0] != self.group.name:
            raise PrereqError(
                f"node group {other[0]} is the one for the storage cluster; there can"
                " be but one"
            )
        self.params = self.parameters()
        self.state = state.group_state(self.group.GetTags())
        self.plan: Plan | None = None
        self.dry_run_result = self._result([])
        members = [self.cfg.GetNodeInfo(uuid) for uuid in sorted(self.group.members)]
        self.offline = sorted(node.name for node in members if node.offline)
        online = [node for node in members if not node.offline]
        if not members:
            self.dry_run_result = self._result([self._without_nodes()])
            return
        if not online:
            raise PrereqError(f"all nodes of group {self.group.name} are offline")
        if not self.params.disks:
            raise PrereqError(
                "no disk is set for the storage: 'gnt-cluster modify -S"
                " ceph:disk=/dev/...' sets it"
            )
        begun = self.state.fsid if self.state else None
        self.nodes = look_at(self.rpc, online, self.params)
        ready = self.state is not None and self.state.phase is Phase.READY
        found = plan.refusals(self.nodes, self.params, begun, ready)
        if found:
            raise PrereqError("\n".join(found))
        self.fsid = begun or str(uuids.uuid4())
        self.cluster = self._ask_cluster() if begun else None
        if ready and self.cluster is None:
            # What it holds is not known: nothing may be made in its place.
            raise PrereqError(
                f"the storage cluster {begun}, which was ready, does not answer: bring"
                " its mons back first ('systemctl status ceph-mon@HOST' on their"
                f" nodes); {self.silence}"
            )
        keys = self._find_keys() if begun else None
        try:
            self.plan = plan.plan(
                self.nodes,
                self.params,
                self.fsid,
                keys or Keys(secret.make_key(), secret.make_key()),
                keys is None,
                self.cluster,
            )
        except ValueError as err:
            # A step refuses what it is told: a name of a place, a device's path.
            raise PrereqError(str(err)) from None
        self.dry_run_result = self._result(describe(self.plan, self.nodes))

    def _result(self, lines: list[str]) -> list[tuple[bool, str]]:
        notes = [
            f"{name} is offline and left out" for name in getattr(self, "offline", ())
        ]
        return [(True, line) for line in [*notes, *lines] or [NOTHING_TO_DO]]

    def _without_nodes(self) -> str:
        # One that had nodes keeps the name of its storage cluster.
        what = "it is marked for storage" if self.state is None else NOTHING_TO_DO
        return f"group {self.group.name} has no nodes, {what}"

    def _ask_cluster(self) -> ClusterFacts | None:
        """Return what the cluster begun before says of itself, None without quorum."""
        able = [
            node
            for node in self.nodes
            if node.facts.conf is not None and node.facts.has_keys
        ]
        # One that holds a mon knows most; another serves as well.
        able.sort(key=lambda node: not node.facts.mons)
        self.silence = "no node that is online has its configuration and key"
        for node in able[:3]:
            reply = rpc.call(self.rpc, rpc.STATUS, {node.uuid: None})[node.uuid]
            if reply.answer is not None:
                return reply.answer
            self.silence = f"{node.name}: {reply.error}"
        return None

    def _find_keys(self) -> Keys | None:
        """Return the keys of the cluster begun before, None where no node has them."""
        holders = {node.uuid: node.name for node in self.nodes if node.facts.mons}
        replies = rpc.call(self.rpc, rpc.KEYS, dict.fromkeys(holders))
        found = [reply.answer for reply in replies.values() if reply.answer]
        if holders and not found:
            raise PrereqError(
                "no node has the keys of the storage cluster that was begun: "
                + "; ".join(
                    f"{name}: {replies[uuid].error}" for uuid, name in holders.items()
                )
            )
        if any(keys != found[0] for keys in found):
            raise PrereqError(
                "nodes have mons with different keys: "
                + ", ".join(sorted(holders.values()))
                + "; those that never were in quorum are to be removed (rm -r"
                " /var/lib/ceph/mon/ceph-HOST)"
            )
        if found:
            return found[0]
        if self.cluster is not None or self.offline:
            raise PrereqError(
                "no node that is online has a mon of the storage cluster that was"
                " begun, and so its keys; bring back, or remove from the group: "
                + (", ".join(self.offline) or "the nodes with its mons")
            )
        return None

    def execute(self, feedback: Callable[[str], None]) -> str:
        """Carry the plan out and write down what came of it."""
        for name in self.offline:
            feedback(f"* {name} is offline and left out")
        if self.plan is None:
            if self.state is None:
                self._mark(GroupState(Phase.MARKED, None), feedback)
            return self._without_nodes()
        stages = self.plan.stages
        if stages:
            if self.state is None or self.state.phase is not Phase.READY:
                self._mark(GroupState(Phase.INITIALISING, self.fsid), feedback)
            run_stages(self, stages, self.nodes, feedback, self.again)
        written = self._write_down(feedback)
        if not stages and not written:
            return f"the storage cluster {self.fsid} is complete, {NOTHING_TO_DO}"
        return (
            f"the storage cluster {self.fsid} is ready; 'gnt-instance add -t rbd' puts"
            " disks there"
        )

    def _mark(self, group_state: GroupState, feedback: Any) -> bool:
        return self.retag(self.group, frozenset({group_state.tag()}), feedback)

    def _write_down(self, feedback: Callable[[str], None]) -> bool:
        """Mark group and nodes, enable the template; tell if anything was to change."""
        ready = frozenset({state.NODE_READY})
        changed = [
            self.retag(self.cfg.GetNodeInfo(node.uuid), ready, feedback)
            for node in self.nodes
        ]
        changed.append(enable_template(self, feedback))
        changed.append(self._mark(GroupState(Phase.READY, self.fsid), feedback))
        return any(changed)


def look_at(runner: Any, members: list[Any], params: StorageParameters) -> list[Node]:
    """Ask nodes for their facts, all at once.

    Raises :class:`PrereqError` that names each node without an answer.
    """
    asked = wire.encode(Look(params.disks, params.db_devices))
    before = time.time()
    replies = rpc.call(runner, rpc.LOOK, {node.uuid: asked for node in members})
    after = time.time()
    facts = {}
    silent = []
    for node in members:
        reply = replies[node.uuid]
        if reply.answer is None:
            silent.append(f"{node.name}: {reply.error}")
        else:
            facts[node.uuid] = reply.answer
    if silent:
        raise PrereqError("\n".join(sorted(silent)))
    nodes = [
        Node(
            node.uuid,
            node.name,
            node.primary_ip,
            node.secondary_ip,
            state.node_places(node.GetTags()),
            facts[node.uuid],
            (before, after),
        )
        for node in members
    ]
    return sorted(nodes, key=lambda node: node.name)


def describe(chosen: Plan, nodes: list[Node]) -> list[str]:
    """Return a plan as the lines that ``--dry-run`` prints."""
    names = {node.uuid: node.name for node in nodes}
    lines = []
    for stage in chosen.stages:
        lines.append(f"* {stage.title}")
        for uuid, steps in stage.steps:
            lines += [f"  - {names[uuid]}: {step.sentence()}" for step in steps]
    return lines


def enable_template(unit: StorageUnit, feedback: Callable[[str], None]) -> bool:
    """Let instances have ``rbd`` disks in the pool, by default as ``access`` says.

    Returns whether that was not so already.
    """
    cluster = unit.cfg.GetClusterInfo()
    template = constants.DT_RBD
    wanted = {
        constants.RBD_POOL: unit.parameters().pool,
        constants.RBD_ACCESS: unit.parameters().access.value,
    }
    changed = False
    current = cluster.diskparams.setdefault(template, {})
    if current.get("user-id", uri.USER) == uri.USER:
        # One that the administrator chose is not ours to change.
        wanted["user-id"] = uri.DISK_USER
    if any(current.get(name) != value for name, value in wanted.items()):
        config.keep_places(unit, list(unit.cfg.GetNodeGroupList()))
        current.update(wanted)
        changed = True
    for templates in (
        cluster.enabled_disk_templates,
        cluster.ipolicy[constants.IPOLICY_DTS],
    ):
        if template not in templates:
            templates.append(template)
            changed = True
    if changed:
        feedback(f"* template {template}: {', '.join(map('='.join, wanted.items()))}")
        unit.cfg.Update(cluster, feedback)
    return changed
