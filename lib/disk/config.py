"""The parameters of rbd disks in Ganeti's configuration and its commands.

Ganeti has a parameter's default in the cluster and in the node group (``-D rbd:``) and
keeps what a disk has of its own in ``disk.params``, which goes before the defaults.
There our parameters are kept too, beside Ganeti's own ``access`` and ``pool``.
"""

import contextlib
import copy
import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ganeti_ceph.disk import options, uri
from ganeti_ceph.errors import UsageError

_RBD = "rbd"
_EXT = "ext"
_STRING = "string"
_POOLS = frozenset({"pool", "data-pool"})

#: Seconds in which a node fails by itself; one that waits in vain for the storage
#: cluster takes much longer.
_SOON = 5

# What is joined to ganeti.constants may not import it, so Ganeti's words are repeated.


def extend_defaults(defaults: dict[str, dict[str, Any]]) -> None:
    """Let the cluster and the node groups have our parameters."""
    for option in options.OPTIONS:
        defaults[_RBD].setdefault(option.name, option.default)


def extend_types(types: dict[str, str]) -> None:
    """Let ``-D`` and ``--disk`` take our parameters, all as texts."""
    for option in options.OPTIONS:
        types.setdefault(option.name, _STRING)


def extend_changeable_types(types: dict[str, str]) -> None:
    """Let ``gnt-instance modify --disk N:`` take those that may change."""
    for option in options.OPTIONS:
        if option.changeable:
            types.setdefault(option.name, _STRING)


def allow_adoption(templates: frozenset[str]) -> frozenset[str]:
    """Let rbd be a template whose disks may be adopted."""
    return templates | {_RBD}


def check_defaults(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Refuse values of ``-D rbd:`` that make no sense; Ganeti looks at names only."""
    from ganeti import constants, errors

    given, known = args
    if known is constants.DISK_DT_DEFAULTS and _RBD in given:
        try:
            options.check(given[_RBD])
            if options.LAYOUT.issubset(given[_RBD]):
                # As where a cluster is made: nothing comes from elsewhere.
                options.check_layout(options.read(given[_RBD]))
        except UsageError as err:
            # Ganeti says the kind of the error when it catches this one.
            raise errors.OpPrereqError(str(err)) from None
    return wrapped(*args, **kwargs)


def compute_device_params(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Send our parameters with each rbd disk to the nodes."""
    template, disk_params = args
    levels = wrapped(*args, **kwargs)
    if template == _RBD:
        levels[0].update(options.given(disk_params[_RBD]))
    return levels


def compute_disks(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Keep our parameters of ``--disk``, and refuse wrong ones."""
    asked, template, _ = args
    for index, disk in enumerate(asked):
        _check(index, disk, template)
    computed = wrapped(*args, **kwargs)
    if template == _RBD:
        for disk, new in zip(asked, computed, strict=True):
            new.update(options.given(disk))
    return computed


def convert_disks(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Give all disks that become rbd the parameters of ``modify -t rbd -e``."""
    disks, template, group, params = args
    if template != _RBD:
        return wrapped(*args, **kwargs)
    given = options.given(params)
    with _refusing():
        if unknown := sorted(set(params) - set(given)):
            raise UsageError(
                f"disks of the template rbd have no parameter {', '.join(unknown)}"
                " that -e could give them; 'man 7 ganeti-ceph-disks' lists them"
            )
        options.check(given)
    return [{**disk, **given} for disk in wrapped(disks, template, group, {})]


def verify_modification(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Refuse wrong parameters of ``gnt-instance modify --disk``."""
    from ganeti import constants, errors

    unit = instance
    operation, params, _, _ = args
    result = wrapped(*args, **kwargs)
    template = unit.cfg.GetInstanceDiskTemplate(unit.instance.uuid)
    if operation == constants.DDM_ADD:
        _check(None, params, params.get(constants.IDISK_TYPE, template))
    elif operation == constants.DDM_MODIFY:
        _check(None, params, template)
        if template == _RBD and options.moves(params):
            from ganeti.cmdlib.common import INSTANCE_DOWN, CheckInstanceState

            CheckInstanceState(
                unit, unit.instance, INSTANCE_DOWN, msg="cannot move its disk"
            )
    if operation == constants.DDM_ADD and constants.IDISK_ADOPT in params:
        raise errors.OpPrereqError(
            "an image is adopted with 'gnt-instance add' only", errors.ECODE_INVAL
        )
    return result


def modify_disk(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Change those of our parameters that ``gnt-instance modify`` may change."""
    unit = instance
    index, disk, params, _ = args
    changed = options.given(params) if disk.dev_type == _RBD else {}
    if not changed:
        return wrapped(*args, **kwargs)
    # Not before: the module is for the job, and this one for every program.
    from ganeti_ceph.disk import limits, move

    # Ganeti's own copy of a disk has the very parameters that are changed below.
    former = copy.deepcopy(disk)
    moved = options.moves(changed) and move.copy(unit, disk, changed)
    # Ganeti writes the disk down when it has changed its own parameters.
    disk.params.update(changed)
    changes = wrapped(*args, **kwargs)
    if moved:
        move.remove(unit, former)
    limits.change_limits(unit, unit.instance, disk, index)
    return changes + [
        (f"disk.{name}/{index}", value) for name, value in changed.items()
    ]


def generate_disks(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Write down with each new rbd disk where its image is, whatever changes later."""
    from ganeti import constants, errors

    asked = inspect.signature(wrapped).bind(*args, **kwargs).arguments
    disks = wrapped(*args, **kwargs)
    if asked["template_name"] != _RBD:
        return disks
    defaults = asked["full_disk_params"][_RBD]
    for wanted, disk in zip(asked["disk_info"], disks, strict=True):
        disk.params.update(options.kept(options.given(wanted), defaults))
        adopted = wanted.get(constants.IDISK_ADOPT)
        try:
            whole = options.read({**defaults, **disk.params})
            if not adopted:
                options.check_layout(whole)
        except UsageError as err:
            raise errors.OpExecError(str(err)) from None
        if adopted:
            disk.logical_id = (disk.logical_id[0], adopted)
    grant(asked["lu"], [disk.params for disk in disks])
    return disks


def grant(unit: Any, disks: list[dict[str, str]]) -> None:
    """Let our Ceph user use the pools of new disks, where no disk is in them yet."""
    from ganeti import errors

    new = set().union(*map(_pools_of_ours, disks)) - _pools_in_use(unit)
    error = _grant(unit, new)
    if error:
        raise errors.OpExecError(error)


def grant_again(unit: Any, feedback: Callable[[str], None]) -> None:
    """Let our Ceph user use all pools that disks are in, and no other.

    A failure is a warning.  The nodes of the storage cluster are locked, or new disks
    would lose their pools before they are written down.
    """
    from ganeti_ceph import rpc

    pools = _pools_in_use(unit)
    for pool in sorted(pools):
        error = _grant(unit, {pool})
        if error:
            feedback(
                f"WARNING: client.{uri.DISK_USER} may not be able to use the disks in"
                f" pool {pool}: {error}"
            )
    error = _grant(unit, pools, rpc.TAKE_BACK)
    if error:
        feedback(
            f"WARNING: client.{uri.DISK_USER} may still use pools that no disk is in:"
            f" {error}"
        )


def _pools_in_use(unit: Any) -> set[str]:
    """Return the pools in which our Ceph user has to be already."""
    from ganeti_ceph import params

    pools = {params.from_tags(unit.cfg.GetClusterInfo().GetTags()).pool}
    for disk in unit.cfg.GetAllDisksInfo().values():
        # Parameters of other templates may have the same names.
        if disk.dev_type == _RBD:
            pools |= _pools_of_ours(disk.params)
    return pools


def _grant(unit: Any, pools: set[str], call: Any = None) -> str | None:
    """Let our Ceph user use pools, if there is a storage cluster; return a failure."""
    from ganeti_ceph import rpc, wire

    nodes = _storage_nodes(unit)
    if not pools or not nodes:
        return None
    wanted = wire.encode(rpc.Grant(uri.DISK_USER, tuple(sorted(pools))))
    return _ask_one(unit, call or rpc.GRANT, nodes, wanted)


def _storage_nodes(unit: Any) -> list[str]:
    """Return the UUIDs of the nodes that are part of our storage cluster."""
    from ganeti_ceph import state

    return [
        node.uuid
        for node in unit.cfg.GetAllNodesInfo().values()
        if state.NODE_READY in node.GetTags() and not node.offline
    ]


def _ask_one(unit: Any, call: Any, nodes: list[str], sent: Any) -> str | None:
    """Have one of the nodes that hold a mon do something; return why none could.

    Not all are asked where the first one took long: the storage cluster, which did not
    answer it, would not answer the next one either.
    """
    from ganeti_ceph import rpc, wire

    looked = rpc.call(
        unit.rpc, rpc.LOOK, dict.fromkeys(nodes, wire.encode(rpc.Look((), ())))
    )
    able = [uuid for uuid, one in looked.items() if one.answer and one.answer.has_keys]
    error: str | None = "no node that is online has the administrator's key"
    end = time.monotonic() + _SOON
    for uuid in able[:3]:
        error = rpc.call(unit.rpc, call, {uuid: sent})[uuid].error
        if error is None or time.monotonic() > end:
            break
    return error


def _pools_of_ours(disk: Mapping[str, Any]) -> set[str]:
    """Return the pools in which our Ceph user of our storage cluster has to be."""
    given = options.read(disk)
    if (given.user, given.conf) != (uri.DISK_USER, uri.CONF):
        return set()
    return {given.pool, given.data_pool} - {""}


def keep_places(unit: Any, group_uuids: list[str]) -> int:
    """Write down where the images of these groups' disks are, before a default changes.

    Disks that Ganeti made without us have no place of their own.  Returns how many
    disks were changed.
    """
    changed = 0
    for guest in unit.cfg.GetAllInstancesInfo().values():
        group = unit.cfg.GetNodeInfo(guest.primary_node).group
        if group not in group_uuids:
            continue
        defaults = unit.cfg.GetInstanceDiskParams(guest).get(_RBD, {})
        for disk in unit.cfg.GetInstanceDisks(guest.uuid):
            if disk.dev_type != _RBD:
                continue
            whole = options.kept(disk.params, defaults)
            if any(disk.params.get(name) != value for name, value in whole.items()):
                disk.params.update(whole)
                unit.cfg.Update(disk, lambda _: None)
                changed += 1
    return changed


def keep_places_in_cluster(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Keep all disks' places while ``gnt-cluster modify -D`` changes defaults."""
    unit = instance
    if _RBD not in (unit.op.diskparams or {}):
        return wrapped(*args, **kwargs)
    if _changes_layout(unit):
        for group in unit.cfg.GetAllNodeGroupsInfo().values():
            _check_layout(group, unit.new_diskparams, group.diskparams)
    keep_places(unit, list(unit.cfg.GetNodeGroupList()))
    result = wrapped(*args, **kwargs)
    _name_pool(unit, *args)
    return result


def keep_places_of_nodes(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Keep the places of disks while their nodes change to another group."""
    unit = instance
    groups = {unit.cfg.GetNodeInfo(uuid).group for uuid in unit.op.node_uuids}
    keep_places(unit, sorted(groups))
    return wrapped(*args, **kwargs)


def keep_places_in_group(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Keep the places of a group's disks while ``gnt-group modify -D`` does it."""
    unit = instance
    if _RBD not in (unit.op.diskparams or {}):
        return wrapped(*args, **kwargs)
    if _changes_layout(unit):
        group = unit.cfg.GetNodeGroup(unit.group_uuid)
        cluster = unit.cfg.GetClusterInfo()
        _check_layout(group, cluster.diskparams, unit.new_diskparams)
    keep_places(unit, [unit.group_uuid])
    result = wrapped(*args, **kwargs)
    _name_pool(unit, *args)
    return result


def _changes_layout(unit: Any) -> bool:
    return not options.LAYOUT.isdisjoint(unit.op.diskparams[_RBD])


def _check_layout(
    group: Any,
    cluster: Mapping[str, Mapping[str, Any]],
    own: Mapping[str, Mapping[str, Any]],
) -> None:
    """Refuse defaults with which no image could be made in a node group."""
    with _refusing(f"node group {group.name}: "):
        options.check_layout(
            options.read({**cluster.get(_RBD, {}), **own.get(_RBD, {})})
        )


def _name_pool(unit: Any, feedback: Callable[[str], None]) -> None:
    """Let Ceph know the pools that have become the default of our storage cluster.

    There the nodes find them, who do not know Ganeti's parameters.
    """
    from ganeti_ceph import rpc, wire

    nodes = _storage_nodes(unit)
    if _POOLS.isdisjoint(unit.op.diskparams[_RBD]) or not nodes:
        return
    group = unit.cfg.GetNodeGroup(unit.cfg.GetNodeInfo(nodes[0]).group)
    defaults = unit.cfg.GetGroupDiskParams(group)[_RBD]
    if not _pools_of_ours(defaults):
        return
    read = options.read(defaults)
    sent = wire.encode(rpc.DefaultPool(read.pool, read.data_pool))
    error = _ask_one(unit, rpc.DEFAULT_POOL, nodes, sent)
    if error:
        pool = read.data_pool or read.pool
        feedback(
            f"WARNING: nodes do not show the room in pool {pool}: {error}; mend that"
            " and give the same command again"
        )


def _check(index: int | None, params: Mapping[str, Any], template: str) -> None:
    if template == _EXT:
        # Its providers have parameters of any name.
        return
    given = options.given(params)
    with _refusing("" if index is None else f"disk {index}: "):
        if given and template != _RBD:
            raise UsageError(
                f"{', '.join(sorted(given))} is only for disks of the template rbd,"
                f" not {template}"
            )
        options.check(given)


@contextlib.contextmanager
def _refusing(where: str = "") -> Iterator[None]:
    from ganeti import errors

    try:
        yield
    except UsageError as err:
        raise errors.OpPrereqError(f"{where}{err}", errors.ECODE_INVAL) from None
