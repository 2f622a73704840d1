"""What ``gnt-node`` gets: a node that is added becomes part of the storage, too."""

import functools
from collections.abc import Callable
from typing import Any

from ganeti import cli, netutils, opcodes
from ganeti import errors as ganeti_errors

from ganeti_ceph import state
from ganeti_ceph.errors import Error
from ganeti_ceph.jobs import command
from ganeti_ceph.state import GroupState, Phase


def extend_commands(commands: dict[str, Any]) -> None:
    """Wrap ``gnt-node add``."""
    function, *rest = commands["add"]
    commands["add"] = (functools.partial(add, function), *rest)


def add(stock: Callable[[Any, list[str]], Any], opts: Any, names: list[str]) -> Any:
    """Add the node, then make it part of the storage cluster if its group has one."""
    code = stock(opts, names)
    if code:
        return code
    # As Ganeti knows it, whatever other name was given.
    name = netutils.GetHostname(name=names[0]).name
    group, storage = _storage_of(name)
    if storage is None:
        return code
    if storage.phase is not Phase.READY:
        cli.ToStdout("%s", _unfinished(group, storage.phase))
        return code
    op = opcodes.OpRestrictedCommand(
        nodes=[], use_locking=False, command=command.render("repair", nodes=name)
    )
    cli.ToStdout("Making %s part of the storage cluster", name)
    try:
        result = cli.SubmitOpCode(op, opts=opts)
    except ganeti_errors.OpPrereqError as err:
        cli.ToStderr(
            "%s is added to Ganeti, but not to the storage cluster yet; when this is"
            " mended, 'gnt-storage repair %s' does it:",
            name,
            name,
        )
        raise err
    for _, text in result:
        cli.ToStdout("%s", text)
    return code


def _unfinished(group: str, phase: Phase) -> str:
    """Say what makes the storage cluster of a group that has no finished one."""
    if phase is Phase.INITIALISING:
        # Only here: other commands need not load what it is with.
        from ganeti_ceph.jobs.survey import half_made

        return half_made(group)
    return (
        f"group {group} is marked for storage, and has none yet: 'gnt-storage"
        f" init-distributed-storage -s ceph {group}' makes it"
    )


def _storage_of(node: str) -> tuple[str, GroupState | None]:
    """Return the name of a node's group, and how far its storage is."""
    client = cli.GetClient()
    ((group,),) = client.QueryNodes(names=[node], fields=["group"], use_locking=False)
    ((tags,),) = client.QueryGroups(names=[group], fields=["tags"], use_locking=False)
    try:
        return group, state.group_state(tags)
    except Error:
        return group, None
