"""What ``gnt-cluster verify`` says of the extension."""

from collections.abc import Callable
from typing import Any

from ganeti import constants

from ganeti_ceph import rpc, state
from ganeti_ceph.jobs import status
from ganeti_ceph.rpc import Misfits, Reply


def verify_config(
    wrapped: Callable[..., bool], unit: Any, args: Any, kwargs: Any
) -> bool:
    """Run Ganeti's verification of the cluster's configuration, then ours."""
    good = wrapped(*args, **kwargs)
    feedback = args[0] if args else kwargs["feedback_fn"]
    feedback("* Verifying the storage extension's joins")
    nodes = sorted(unit.all_node_info.values(), key=lambda node: node.name)
    online = [node for node in nodes if not node.offline]
    replies = rpc.call(
        unit.rpc, rpc.MISFITS, dict.fromkeys(node.uuid for node in online)
    )
    # Without storage a node may do without us; what is there has to fit.
    used = any(
        state.storage_tags(group.GetTags()) for group in unit.all_group_info.values()
    )
    for node in online:
        absent = replies[node.uuid].answer is None and not used
        level = unit.ETYPE_WARNING if absent else unit.ETYPE_ERROR
        for message in complaints(replies[node.uuid]):
            unit._ErrorMsg(constants.CV_ENODEVERSION, node.name, message, level)
    status.verify(unit, feedback)
    return good and not unit.bad


def complaints(reply: Reply[Misfits]) -> list[str]:
    """Return what is wrong with the extension on a node, a sentence each."""
    if reply.answer is None:
        return [f"ganeti-ceph: {reply.error}"]
    misfits = reply.answer
    return [
        f"ganeti-ceph {misfits.version} is not joined to {place} of Ganeti"
        f" {misfits.ganeti}: {reason}"
        for place, reason in misfits.places
    ]
