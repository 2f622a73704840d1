"""The commands that ``gnt-storage`` gets."""

from typing import Any

from ganeti import cli

from ganeti_ceph import params
from ganeti_ceph.cli.submit import submit

STORAGE_TYPE_OPT = cli.cli_option(
    "-s",
    "--storage-type",
    dest="storage_type",
    metavar="TYPE",
    default=params.StorageType.CEPH.value,
    help=f"Type of the storage cluster ({', '.join(params.StorageType)})",
)


def init_distributed_storage(opts: Any, args: list[str]) -> int:
    """Make the storage cluster of a node group; the result is the exit code."""
    lines = submit(
        opts,
        "init-distributed-storage",
        storage_type=opts.storage_type,
        node_group=args[0],
    )
    for line in lines:
        cli.ToStdout("%s", line)
    return 0


def extend_commands(commands: dict[str, Any]) -> None:
    """Add the extension's commands to those of ``gnt-storage``."""
    commands["init-distributed-storage"] = (
        init_distributed_storage,
        [cli.ArgGroup(min=1, max=1)],
        [STORAGE_TYPE_OPT, cli.DRY_RUN_OPT, cli.PRIORITY_OPT, *cli.SUBMIT_OPTS],
        "-s ceph [--dry-run] [--submit] <node-group>",
        "Makes a storage cluster on the nodes of a group",
    )
