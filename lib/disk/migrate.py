"""An instance goes to another node: none of its disks stays behind, in use or not."""

import inspect
from collections.abc import Callable
from typing import Any

from ganeti import errors

from ganeti_ceph.disk import running


def shut_down_disks(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Fail a failover while a node that answers still has a disk mapped.

    Ganeti ignores what the former node says, as it may be dead.  But if it lives, and
    a file system of the disk is mounted there, the instance would be a second writer.
    """
    asked = inspect.signature(wrapped).bind(*args, **kwargs).arguments
    unit, guest = asked["lu"], asked["instance"]
    result = wrapped(*args, **kwargs)
    if not asked.get("ignore_primary"):
        return result
    found = running.ask(unit, guest, guest.primary_node)
    mapped = [name for name, _, facts in found if facts.device is not None]
    if mapped:
        unit.LogWarning(
            "%s stays in use on node %s: end what uses it there, or, if the node is to"
            " be left behind, power it off and mark it as offline",
            ", ".join(mapped),
            unit.cfg.GetNodeInfo(guest.primary_node).name,
        )
        return False
    return result


def check_access(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Refuse to migrate an instance that runs with another access than configured.

    The target would make a block device that QEMU does not open, or lack one that it
    needs.
    """
    work = instance
    found = running.ask(work.lu, work.instance, work.source_node_uuid)
    for name, access, facts in found:
        runs = running.access_now(access, facts)
        if runs != access:
            raise errors.OpExecError(
                f"{name} runs with access={runs}, while access={access} is configured,"
                " which counts from the next start on: restart the instance"
                f" ('gnt-instance reboot {work.instance.name}'), then it can migrate"
            )
    return wrapped(*args, **kwargs)


def choose_target(
    wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any
) -> Any:
    """Clean up after a migration where it left something, not on any other node.

    If no node is named Ganeti has the allocator choose one, also for that.
    """
    work = instance
    if not work.cleanup:
        return wrapped(*args, **kwargs)
    unit = work.lu
    guest = unit.cfg.GetInstanceInfo(work.instance_uuid)
    left = _left_on(unit, guest)
    if not left:
        return wrapped(*args, **kwargs)
    work.target_node_uuid = left[0]
    unit.LogInfo(
        "What is left of %s is on %s", guest.name, unit.cfg.GetNodeInfo(left[0]).name
    )
    return None


def _left_on(unit: Any, guest: Any) -> list[str]:
    """Return on which other nodes an instance runs, then where its disks are mapped."""
    others = [one for one in unit.cfg.GetOnlineNodeList() if one != guest.primary_node]
    if not others:
        return []
    params = unit.cfg.GetClusterInfo().hvparams
    listed = unit.rpc.call_instance_list(others, [guest.hypervisor], params)
    runs = [
        node
        for node, answer in listed.items()
        if not answer.fail_msg and guest.name in answer.payload
    ]
    mapped = [
        node
        for node, disks in running.ask_all(unit, guest, others).items()
        if any(facts.device is not None for *_, facts in disks)
    ]
    return list(dict.fromkeys(runs + mapped))
