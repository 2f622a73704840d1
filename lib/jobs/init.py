"""Making a node group's storage cluster, or finishing one that was begun."""

import uuid as uuids
from collections.abc import Callable
from typing import Any

from ganeti import constants, locking

from ganeti_ceph import diagnose, params, plan, quorum, secret, state
from ganeti_ceph.disk import config, uri
from ganeti_ceph.errors import ExecError, PrereqError, UsageError
from ganeti_ceph.jobs.base import StorageUnit, describe, run_stages
from ganeti_ceph.jobs.survey import ask_cluster, find_keys, look_at, refuse_silence
from ganeti_ceph.plan import Plan, Stage
from ganeti_ceph.state import GroupState, Phase
from ganeti_ceph.steps import Keys

NOTHING_TO_DO = "there is nothing to do"
#: What follows when the mons of a silent storage cluster were started.
AFTER_WAKING = "* what is missing then is only known when the storage cluster answers"


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
        self.check_nodes(None)

    def check_nodes(self, joining: frozenset[str] | None) -> None:
        """Plan what the group's nodes lack.

        With ``joining``, UUIDs, it is about these nodes: others may be silent or lack
        something, and data may still be on its way when it is done.
        """
        self.joining = joining
        archive = self.options.get("archive_crashes") == "yes"
        self.params = self.parameters()
        self.state = state.group_state(self.group.GetTags())
        self.plan: Plan | None = None
        #: What starts the mons where the storage cluster does not answer, and why.
        self.waking: tuple[Stage, ...] = ()
        self.mute = ""
        self.dry_run_result = self._result([])
        members = [self.cfg.GetNodeInfo(uuid) for uuid in sorted(self.group.members)]
        self.left_out = [
            f"{node.name} is offline and left out" for node in members if node.offline
        ]
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
        self.nodes, silent = look_at(self.rpc, online, self.params)
        ready = self.state is not None and self.state.phase is Phase.READY
        self.cluster, silence = (
            ask_cluster(self.rpc, self.nodes) if begun else (None, "")
        )
        if begun and ready and self.cluster is None:
            why = {one.name: one.error for one in silent}
            offline = [node.name for node in members if node.offline]
            mons = quorum.told(self.nodes, why, offline, begun)
            self._plan_waking(
                begun,
                f"the storage cluster {begun} does not answer ({silence}): {mons}",
            )
            return
        if joining is None or any(one.uuid in joining for one in silent):
            refuse_silence(silent)
        self.left_out += [f"{one.name} is left out: {one.error}" for one in silent]
        found = plan.refusals(self.nodes, self.params, begun, ready, joining)
        found += plan.unplaced(
            (one for one in self.nodes if joining is None or one.uuid in joining),
            self.params,
        )
        if found:
            raise PrereqError("\n".join(found))
        self.left_out += plan.unusable(self.nodes, begun)
        self.fsid = begun or str(uuids.uuid4())
        away = [node.name for node in members if node.offline]
        away += [one.name for one in silent]
        keys = find_keys(self.rpc, self.nodes, self.cluster, away) if begun else None
        try:
            self.plan = plan.plan(
                self.nodes,
                self.params,
                self.fsid,
                keys or Keys(secret.make_key(), secret.make_key()),
                keys is None,
                self.cluster,
                joining,
                ready,
                archive,
            )
        except ValueError as err:
            # A step refuses what it is told: a name of a place, a device's path.
            raise PrereqError(str(err)) from None
        if self.cluster is not None:
            lost = diagnose.gone(self.nodes, self.cluster, plan.made_again(self.plan))
            self.left_out += [f"{one.node}: {one.text}" for one in lost]
        self.dry_run_result = self._result(describe(self.plan.stages, self.nodes))

    def _plan_waking(self, fsid: str, mute: str) -> None:
        """Plan to start the mons of a storage cluster that was ready and is silent.

        What it holds is not known: nothing may be made in its place.  What is wrong
        otherwise keeps no mon from being started.
        """
        self.mute = mute
        self.waking = quorum.start_stages(self.nodes, fsid)
        if not self.waking:
            raise PrereqError(f"{mute}; {quorum.BY_HAND}")
        lines = describe(self.waking, self.nodes)
        self.dry_run_result = self._result([mute, *lines, AFTER_WAKING])

    def _result(self, lines: list[str]) -> list[tuple[bool, str]]:
        notes = getattr(self, "left_out", [])
        return [(True, line) for line in [*notes, *lines] or [NOTHING_TO_DO]]

    def _without_nodes(self) -> str:
        # One that had nodes keeps the name of its storage cluster.
        what = "it is marked for storage" if self.state is None else NOTHING_TO_DO
        return f"group {self.group.name} has no nodes, {what}"

    def execute(self, feedback: Callable[[str], None]) -> str:
        """Carry the plan out and write down what came of it."""
        if self.waking:
            self._wake(feedback)
        for note in self.left_out:
            feedback(f"* {note}")
        if self.plan is None:
            if self.state is None:
                self._mark(GroupState(Phase.MARKED, None), feedback)
            return self._without_nodes()
        stages = self.plan.stages
        if stages:
            if self.state is None or self.state.phase is not Phase.READY:
                self._mark(GroupState(Phase.INITIALISING, self.fsid), feedback)
            # Whoever takes it away must ask Ceph from now on, whatever fails.
            for node in self._targets():
                if state.NODE_READY not in node.GetTags():
                    self.retag(node, _tags(node, state.NODE_JOINING), feedback)
            run_stages(self.rpc, stages, self.nodes, feedback, self.again)
        written = self._write_down(feedback)
        if not stages and not written:
            return f"the storage cluster {self.fsid} is complete, {NOTHING_TO_DO}"
        return (
            f"the storage cluster {self.fsid} is ready; 'gnt-instance add -t rbd' puts"
            " disks there"
        )

    def _wake(self, feedback: Callable[[str], None]) -> None:
        """Start the mons that there are, and plan anew once they are a quorum."""
        feedback(f"* {self.mute}")
        failed = None
        try:
            run_stages(self.rpc, self.waking, self.nodes, feedback, self.again)
        except ExecError as err:
            # The others may be a quorum without it.
            failed = str(err)
        self.check_nodes(self.joining)
        if self.waking:
            told = f"{self.mute}; {quorum.BY_HAND}"
            raise ExecError("\n".join(filter(None, (told, failed))))

    def _mark(self, group_state: GroupState, feedback: Any) -> bool:
        return self.retag(self.group, frozenset({group_state.tag()}), feedback)

    def _targets(self) -> list[Any]:
        """Return Ganeti's nodes that it is about."""
        return [
            self.cfg.GetNodeInfo(node.uuid)
            for node in self.nodes
            if self.joining is None or node.uuid in self.joining
        ]

    def _write_down(self, feedback: Callable[[str], None]) -> bool:
        """Mark group and nodes, enable the template; tell if anything was to change."""
        changed = [
            self.retag(node, _tags(node, state.NODE_READY), feedback)
            for node in self._targets()
        ]
        changed.append(enable_template(self, feedback))
        changed.append(self._mark(GroupState(Phase.READY, self.fsid), feedback))
        return any(changed)


def _tags(node: Any, mark: str) -> frozenset[str]:
    """Return the storage tags of a node with a mark; what drained it, while it is."""
    osds = state.drained_osds(node.GetTags()) if node.drained else None
    return frozenset({mark}) | (state.drained_tags(osds) if osds is not None else set())


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
