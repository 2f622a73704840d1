"""Which pools Ganeti's jobs and commands ask nodes about."""

from collections.abc import Callable
from typing import Any

from ganeti import constants

from ganeti_ceph.disk import options


def ask_nodes(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Ask each node for the room in its group's pool, for an instance allocator."""
    allocator = instance
    templates, node_uuids, cluster, hypervisor = args
    if templates != [constants.DT_RBD]:
        return wrapped(*args, **kwargs)
    config, rpc = allocator.cfg, allocator.rpc
    units = {}
    for uuid in node_uuids:
        group = config.GetNodeGroup(config.GetNodeInfo(uuid).group)
        params = _of_group(config, group)
        units[uuid] = [(constants.ST_RADOS, params["pool"], [params])]
    hypervisors = [(hypervisor, cluster.hvparams[hypervisor])]
    answers = rpc.call_node_info(node_uuids, units, hypervisors)
    failed = [
        uuid
        for uuid in node_uuids
        if answers[uuid].fail_msg and not answers[uuid].offline
    ]
    if failed:
        # Nodes without storage may be without the extension, and then know no pools.
        answers.update(rpc.call_node_info(failed, [], hypervisors))
    return answers


def storage_of_node(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Give an instance allocator a node's room for rbd disks, 0 where it is unknown.

    The storage cluster may be back until the disks are made.
    """
    infos, _, template = args
    if template != constants.DT_RBD:
        return wrapped(*args, **kwargs)
    for info in infos:
        if info["type"] == constants.ST_RADOS:
            return info["storage_size"] or 0, info["storage_free"] or 0, 0, 0
    return 0, 0, 0, 0


def choose_storage(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """List pools where rbd is the default template and nothing else is asked for."""
    unit = instance
    templates = unit.cfg.GetClusterInfo().enabled_disk_templates
    if not unit.op.storage_type and templates[0] == constants.DT_RBD:
        unit.op.storage_type = constants.ST_RADOS
    return wrapped(*args, **kwargs)


def storage_arguments(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Tell nodes of all pools that new disks go to, or that disks are in."""
    config, storage_type = args
    if storage_type != constants.ST_RADOS:
        return wrapped(*args, **kwargs)
    found = [
        _of_group(config, group) for group in config.GetAllNodeGroupsInfo().values()
    ]
    for disk in config.GetAllDisksInfo().values():
        if disk.dev_type == constants.DT_RBD and "pool" in disk.params:
            found.append(_place(disk.params))
    unique = {tuple(params.items()): params for params in found}
    return [[unique[key] for key in sorted(unique)]]


def extend_option(option: Any) -> None:
    """Let ``gnt-node list-storage -t`` take pools."""
    option.choices.append(constants.ST_RADOS)
    option.help = f"Storage type ({', '.join(option.choices)})"


def _of_group(config: Any, group: Any) -> dict[str, str]:
    return _place(config.GetGroupDiskParams(group)[constants.DT_RBD])


def _place(params: dict[str, Any]) -> dict[str, str]:
    """Return where images with these parameters lie, other parameters left out."""
    return {
        name: value
        for name, value in options.kept(params, {}).items()
        if name in ("pool", "data-pool", "user-id", "ceph-conf")
    }
