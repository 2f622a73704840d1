"""What ``gnt-cluster`` gets: ``-S`` on init and modify, a section of info, a check."""

import functools
from collections.abc import Callable
from typing import Any

from ganeti import cli, constants, opcodes

from ganeti_ceph import errors, params
from ganeti_ceph.cli.submit import as_ganeti_error, submit
from ganeti_ceph.params import StorageParameters

Command = Callable[[Any, list[str]], int]

STORAGE_PARAMETERS_OPT = cli.cli_option(
    "-S",
    "--storage-parameters",
    dest="storage_parameters",
    metavar="TYPE:OPTION=VALUE,...",
    default=None,
    help="Parameters of the storage cluster, for example ceph:disk=/dev/sdb; see"
    " ganeti-ceph(7)",
)

#: What has to be joined for the verification's job to say what is not.
_SAYS_SO = ("ganeti.cmdlib.cluster.verify", "ganeti.server.noded")

#: Options of gnt-cluster modify that change nothing by themselves.
_HOW = frozenset({"force", "dry_run", "submit_only", "print_jobid", "priority"})


def extend_commands(commands: dict[str, Any]) -> None:
    """Wrap those commands of ``gnt-cluster`` that concern the storage."""
    modify_options = commands["modify"][2]
    wrappers: dict[str, Callable[..., int]] = {
        "init": init,
        "modify": functools.partial(modify, modify_options),
        "info": info,
        "verify": verify,
    }
    for name, wrapper in wrappers.items():
        function, arguments, options, usage, description = commands[name]
        if name in ("init", "modify"):
            options = [*options, STORAGE_PARAMETERS_OPT]
        commands[name] = (
            functools.partial(wrapper, function),
            arguments,
            options,
            usage,
            description,
        )


def _parse(text: str) -> params.Change:
    try:
        return params.parse(text)
    except errors.Error as err:
        raise as_ganeti_error(err) from None


def init(stock: Command, opts: Any, args: list[str]) -> int:
    """Make a cluster, after its storage parameters proved good, and store them."""
    if opts.storage_parameters is None:
        return stock(opts, args)
    change = _parse(opts.storage_parameters)
    try:
        wanted = params.apply(StorageParameters(), change, initialised=False)
    except errors.Error as err:
        raise as_ganeti_error(err) from None
    code = stock(opts, args)
    tags = sorted(params.to_tags(wanted))
    if code == 0 and tags:
        cli.SubmitOpCode(
            opcodes.OpTagsSet(kind=constants.TAG_CLUSTER, name=None, tags=tags)
        )
    return code


def modify(stock_options: list[Any], stock: Command, opts: Any, args: list[str]) -> int:
    """Change the storage parameters, and whatever else was asked for."""
    if opts.storage_parameters is None:
        return stock(opts, args)
    _parse(opts.storage_parameters)
    others = [
        option
        for option in stock_options
        if option.dest not in _HOW and _is_given(option, opts)
    ]
    if others and (opts.submit_only or opts.dry_run):
        raise as_ganeti_error(
            errors.UsageError("give -S alone with --submit or --dry-run")
        )
    for line in submit(
        opts, "modify-storage-parameters", parameters=opts.storage_parameters
    ):
        cli.ToStdout("%s", line)
    return stock(opts, args) if others else 0


def _is_given(option: Any, opts: Any) -> bool:
    value = getattr(opts, option.dest, None)
    if isinstance(value, list | dict):
        # What is given is appended to the very object that is the default.
        return bool(value)
    return value is not None and value != option.default


def info(stock: Command, opts: Any, args: list[str]) -> int:
    """Show the cluster, then its storage parameters."""
    code = stock(opts, args)
    if code != 0:
        return code
    tags = cli.GetClient().QueryClusterInfo()["tags"]
    try:
        shown: Any = params.describe(params.from_tags(tags))
    except errors.Error as err:
        shown = f"unreadable: {err}"
    cli.PrintGenericInfo([("Storage parameters", [("ceph", shown)])])
    return code


def verify(stock: Command, opts: Any, args: list[str]) -> int:
    """Verify the cluster; say it here if the job is not joined and cannot say it."""
    code = stock(opts, args)
    # Only here: no other command needs what the node daemon loads.
    from ganeti_ceph.joins import fit

    for one in fit.refusals(_SAYS_SO):
        if one.place.startswith(_SAYS_SO):
            cli.ToStderr("ganeti-ceph is not joined to %s: %s", one.place, one.reason)
            code = code or 1
    return code
