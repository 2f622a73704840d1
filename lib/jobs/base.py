"""What the extension's logical units have in common.

A logical unit is Ganeti's form of an operation: it expands names, declares locks,
checks prerequisites and executes, in this order.  Errors of ours become Ganeti's
here, so that its commands, jobs and RAPI show them as they show their own.
"""

import abc
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ganeti import errors as ganeti_errors
from ganeti import locking
from ganeti.cmdlib.base import NoHooksLU

from ganeti_ceph import errors, params, rpc, state
from ganeti_ceph.params import StorageParameters
from ganeti_ceph.plan import Node, Stage


@contextlib.contextmanager
def ganeti_terms() -> Iterator[None]:
    """Let our errors leave as those that Ganeti knows."""
    try:
        yield
    except errors.UsageError as err:
        raise ganeti_errors.OpPrereqError(str(err), ganeti_errors.ECODE_INVAL) from None
    except errors.PrereqError as err:
        raise ganeti_errors.OpPrereqError(str(err), ganeti_errors.ECODE_STATE) from None
    except errors.Error as err:
        raise ganeti_errors.OpExecError(str(err)) from None


class StorageUnit(NoHooksLU, abc.ABC):  # type: ignore[misc]
    """A logical unit that works on the storage cluster; one at a time does."""

    REQ_BGL = False

    #: The options of the command line, set by the dispatcher.
    options: dict[str, str]

    def ExpandNames(self) -> None:
        """Lock all node groups: there is but one storage cluster."""
        self.needed_locks = {locking.LEVEL_NODEGROUP: locking.ALL_SET}

    def CheckPrereq(self) -> None:
        """Check what must hold before anything is changed."""
        with ganeti_terms():
            self.check()

    def Exec(self, feedback_fn: Callable[[str], None]) -> list[tuple[bool, str]]:
        """Do it; returns what the stock opcode promises, whose text is ours."""
        with ganeti_terms():
            return [(True, self.execute(feedback_fn))]

    @abc.abstractmethod
    def check(self) -> None:
        """Find out whether it may be done, or raise :class:`errors.Error`."""

    @abc.abstractmethod
    def execute(self, feedback: Callable[[str], None]) -> str:
        """Do it and return the sentence that says what was done."""

    def parameters(self) -> StorageParameters:
        """Return the cluster's storage parameters."""
        return params.from_tags(self.cfg.GetClusterInfo().GetTags())

    def storage_group(self) -> tuple[str, state.GroupState] | None:
        """Return the name and state of the group that is for storage, if one is."""
        for group in self.cfg.GetAllNodeGroupsInfo().values():
            found = state.group_state(group.GetTags())
            if found is not None:
                return group.name, found
        return None

    def initialised(self) -> bool:
        """Tell whether a storage cluster exists, be it a half-made one."""
        group = self.storage_group()
        return group is not None and group[1].phase is not state.Phase.MARKED

    def retag(self, target: Any, tags: frozenset[str], feedback: Any) -> bool:
        """Replace the storage tags of a node group or node; tell if they differed."""
        return retag(self.cfg, target, tags, feedback)


def retag(cfg: Any, target: Any, tags: frozenset[str], feedback: Any) -> bool:
    """Replace the storage tags of a node group or node; tell if they differed."""
    old = state.storage_tags(target.GetTags())
    if old == tags:
        return False
    for tag in old - tags:
        target.RemoveTag(tag)
    for tag in tags - old:
        target.AddTag(tag)
    cfg.Update(target, feedback)
    return True


def run_stages(
    runner: Any,
    stages: Iterable[Stage],
    nodes: Iterable[Node],
    feedback: Callable[[str], None],
    again: str,
) -> None:
    """Do the steps of a plan, stage by stage, all nodes of a stage in parallel.

    ``runner`` is Ganeti's RPC runner; ``again`` is the command that goes on from
    there after the first stage in which something failed, which raises
    :class:`errors.ExecError`.
    """
    names = {node.uuid: node.name for node in nodes}
    for stage in stages:
        began = time.monotonic()
        feedback(f"* {stage.title}")
        replies = rpc.call(
            runner,
            rpc.DO,
            {uuid: rpc.encode_steps(steps) for uuid, steps in stage.steps},
            max(step.limit for _, steps in stage.steps for step in steps),
        )
        failures = []
        for uuid, steps in stage.steps:
            reply = replies[uuid]
            if reply.answer is None:
                titles = ", ".join(dict.fromkeys(step.name for step in steps))
                failures.append(f"{names[uuid]}: {titles}: {reply.error}")
                continue
            for outcome in reply.answer.steps:
                if outcome.error is None:
                    feedback(
                        f"  - {names[uuid]}: {outcome.done} ({outcome.seconds:.1f} s)"
                    )
                else:
                    failures.append(f"{names[uuid]}: {outcome.step}: {outcome.error}")
        if failures:
            raise errors.ExecError(
                f"{stage.title}: failed after {time.monotonic() - began:.0f} s:\n  "
                + "\n  ".join(failures)
                + f"\nMend that, then go on from here with '{again}'"
            )


def describe(stages: Iterable[Stage], nodes: Iterable[Node]) -> list[str]:
    """Return a plan as the lines that ``--dry-run`` prints."""
    names = {node.uuid: node.name for node in nodes}
    lines = []
    for stage in stages:
        lines.append(f"* {stage.title}")
        for uuid, steps in stage.steps:
            lines += [f"  - {names[uuid]}: {step.sentence()}" for step in steps]
    return lines
