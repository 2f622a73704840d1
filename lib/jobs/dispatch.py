"""Which of the extension's operations a job runs.

luxid refuses opcodes that it does not know, so the operations travel in a stock
opcode, ``OP_RESTRICTED_COMMAND``: its ``command`` is a command line.  Known ones
are the extension's, all others stay Ganeti's.
"""

from typing import Any

from ganeti_ceph.jobs import command
from ganeti_ceph.jobs.init import LUInitDistributedStorage
from ganeti_ceph.jobs.parameters import LUModifyStorageParameters
from ganeti_ceph.jobs.repair import LURepair
from ganeti_ceph.jobs.trash import LUTrash

#: The extension's operations by the first word of their command line.
OPERATIONS: dict[str, Any] = {
    "init-distributed-storage": LUInitDistributedStorage,
    "repair": LURepair,
    "modify-storage-parameters": LUModifyStorageParameters,
    "trash": LUTrash,
}


def extend_table(table: dict[Any, Any]) -> None:
    """Put the choice between our operations and Ganeti's own into the job process."""
    from ganeti import opcodes

    stock = table[opcodes.OpRestrictedCommand]

    class Dispatcher:
        """Looks like a logical unit's class; makes the one that the command names."""

        REQ_BGL = stock.REQ_BGL

        def __new__(cls, processor: Any, op: Any, *args: Any) -> Any:
            parsed = command.parse(op.command)
            if parsed is None or parsed[0] not in OPERATIONS:
                return stock(processor, op, *args)
            unit = OPERATIONS[parsed[0]](processor, op, *args)
            unit.options = parsed[1]
            return unit

    table[opcodes.OpRestrictedCommand] = Dispatcher
