"""What ``gnt-backup`` gets: exports of what an instance is, without its data."""

import functools
from collections.abc import Callable
from typing import Any

from ganeti import cli, errors

from ganeti_ceph.cli.submit import submit

CONFIG_ONLY_OPT = cli.cli_option(
    "--config-only",
    dest="config_only",
    action="store_true",
    default=False,
    help="Export what the instance is, and the names of its rbd images instead of"
    " their data",
)

#: Options that are about data that is copied: their names, and how they are spelt.
_OF_DATA = {
    "remove_instance": "--remove-instance",
    "zero_free_space": "--zero-free-space",
    "long_sleep": "--long-sleep",
}


def extend_commands(commands: dict[str, Any]) -> None:
    """Wrap ``gnt-backup export``."""
    function, arguments, options, *rest = commands["export"]
    commands["export"] = (
        functools.partial(export, function),
        arguments,
        [*options, CONFIG_ONLY_OPT],
        *rest,
    )


def export(stock: Callable[[Any, list[str]], Any], opts: Any, names: list[str]) -> Any:
    """Export an instance, with ``--config-only`` by a job of ours."""
    if not opts.config_only:
        return stock(opts, names)
    for name, option in _OF_DATA.items():
        if getattr(opts, name):
            raise errors.OpPrereqError(
                f"with --config-only no data is exported: leave out {option}",
                errors.ECODE_INVAL,
            )
    if not opts.node:
        raise errors.OpPrereqError("Target node must be specified", errors.ECODE_INVAL)
    for line in submit(opts, "export-config", instance=names[0], node=opts.node):
        cli.ToStdout("%s", line)
    return 0
