"""Which of the extension's operations a job runs.

luxid refuses opcodes that it does not know, so the operations travel in a stock
opcode, ``OP_RESTRICTED_COMMAND``: its ``command`` is a command line.  Known ones
are the extension's, all others stay Ganeti's.
"""

import importlib
from typing import Any

from ganeti_ceph.jobs import command

#: The extension's operations by the first word of their command line: module and
#: logical unit, loaded by the jobs that run them only.
OPERATIONS = {
    "init-distributed-storage": ("init", "LUInitDistributedStorage"),
    "repair": ("repair", "LURepair"),
    "modify-storage-parameters": ("parameters", "LUModifyStorageParameters"),
    "trash": ("trash", "LUTrash"),
    "export-config": ("export", "LUExportConfig"),
}


def operation(name: str) -> Any:
    """Return the logical unit's class of an operation."""
    module, unit = OPERATIONS[name]
    return getattr(importlib.import_module(f"ganeti_ceph.jobs.{module}"), unit)


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
            unit = operation(parsed[0])(processor, op, *args)
            unit.options = parsed[1]
            return unit

    table[opcodes.OpRestrictedCommand] = Dispatcher
