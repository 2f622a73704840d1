"""The commands that ``gnt-storage`` gets."""

import json
import time
from typing import Any

from ganeti import cli, errors, utils

from ganeti_ceph import params, wire
from ganeti_ceph.cli import status as screen
from ganeti_ceph.cli.submit import as_ganeti_error, submit
from ganeti_ceph.errors import Error
from ganeti_ceph.facts import TrashedImage
from ganeti_ceph.jobs.status import Status, look
from ganeti_ceph.jobs.survey import ByName, find_storage, half_made
from ganeti_ceph.state import Phase

STORAGE_TYPE_OPT = cli.cli_option(
    "-s",
    "--storage-type",
    dest="storage_type",
    metavar="TYPE",
    default=params.StorageType.CEPH.value,
    help=f"Type of the storage cluster ({', '.join(params.StorageType)})",
)


ARCHIVE_OPT = cli.cli_option(
    "--archive-crashes",
    dest="archive_crashes",
    action="store_true",
    default=False,
    help="Mark as seen what crashed, so that Ceph warns of it no more",
)

IMAGE_NAME_OPT = cli.cli_option(
    "--name",
    dest="image_name",
    metavar="NAME",
    default=None,
    help="Name of the restored image, where its own is taken",
)

ALL_IMAGES_OPT = cli.cli_option(
    "--all",
    dest="all_images",
    action="store_true",
    default=False,
    help="With --force: all images, also those whose time of grace is not over",
)


WATCH_OPT = cli.cli_option(
    "--watch",
    dest="watch",
    action="store_true",
    default=False,
    help="Show it again every few seconds, until interrupted",
)

_WATCH_PAUSE = 3


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


def repair(opts: Any, args: list[str]) -> int:
    """Do what the storage cluster, or some of its nodes, lack."""
    more = {"archive_crashes": "yes"} if opts.archive_crashes else {}
    for line in submit(opts, "repair", nodes=",".join(args), **more):
        cli.ToStdout("%s", line)
    return 0


def status(opts: Any, args: list[str]) -> int:
    """Show how the storage cluster is, once or until it is interrupted."""
    from ganeti.rpc.node import RunWithRPC

    try:
        code: int = RunWithRPC(_status)(opts, args)
    except Error as err:
        raise as_ganeti_error(err) from None
    return code


def _status(opts: Any, _: list[str]) -> int:
    while True:
        shown = list(screen.lines(_ask_status()))
        if not opts.watch:
            break
        # Home, and clear what is below.
        cli.ToStdout("\033[H\033[J%s", "\n".join(shown))
        time.sleep(_WATCH_PAUSE)
    for line in shown:
        cli.ToStdout("%s", line)
    return 0


def _ask_status() -> Status:
    from ganeti.rpc.node import DnsOnlyRunner

    client = cli.GetClient()
    groups = {
        uuid: (name, tags)
        for uuid, name, tags in client.QueryGroups([], ["uuid", "name", "tags"], False)
    }
    tags = client.QueryClusterInfo()["tags"]
    storage = find_storage(groups, tags)
    if storage is None:
        begun = find_storage(groups, tags, Phase.INITIALISING)
        raise errors.OpPrereqError(
            half_made(begun.name) if begun else "there is no finished storage cluster",
            errors.ECODE_STATE,
        )
    fields = ["name", "pip", "sip", "tags", "offline", "drained", "group.uuid"]
    members = [
        ByName(name, pip, sip, tags, offline=offline, drained=drained)
        for name, pip, sip, tags, offline, drained, group in client.QueryNodes(
            [], fields, False
        )
        if group == storage.group
    ]
    # No job: one every few seconds would fill the queue.
    return look(DnsOnlyRunner(), members, storage)


def trash(opts: Any, args: list[str]) -> int:
    """List, restore or purge the images of removed disks."""
    action, *images = args
    if any(word.startswith("-") for word in images):
        raise errors.OpPrereqError(
            f"options go before '{action}': gnt-storage trash [options] {action} ...",
            errors.ECODE_INVAL,
        )
    if action not in ("list", "restore", "purge"):
        raise errors.OpPrereqError(
            f"unknown action '{action}', use list, restore or purge", errors.ECODE_INVAL
        )
    if action == "purge" and opts.force and not images and not opts.all_images:
        raise errors.OpPrereqError(
            "--force would delete all images whose time is not over: name them, or"
            " give --all, too",
            errors.ECODE_INVAL,
        )
    lines = submit(
        opts,
        "trash",
        action=action,
        images=",".join(images),
        name=opts.image_name or "",
        force="yes" if opts.force else "no",
    )
    for line in lines:
        if action == "list":
            _print_trash(opts, json.loads(line))
        else:
            cli.ToStdout("%s", line)
    return 0


def _print_trash(opts: Any, found: list[Any]) -> None:
    images = [wire.decode(TrashedImage, one) for one in found]
    if opts.no_headers:
        headers = None
    else:
        headers = {
            "pool": "Pool",
            "id": "ID",
            "image": "Image",
            "size": "Size",
            "owner": "Instance:Disk",
            "removed": "Removed",
            "until": "KeptUntil",
        }
    rows = [
        [
            str(one.place),
            one.id,
            one.name,
            "-" if one.size is None else one.size // 2**20,
            one.owner or "-",
            utils.FormatTime(one.removed),
            utils.FormatTime(one.until),
        ]
        for one in images
    ]
    for line in cli.GenerateTable(
        separator=opts.separator,
        headers=headers,
        fields=["pool", "id", "image", "size", "owner", "removed", "until"],
        unitfields=["size"],
        numfields=["size"],
        data=rows,
        units=opts.units,
    ):
        cli.ToStdout("%s", line)


def extend_commands(commands: dict[str, Any]) -> None:
    """Add the extension's commands to those of ``gnt-storage``."""
    commands["init-distributed-storage"] = (
        init_distributed_storage,
        [cli.ArgGroup(min=1, max=1)],
        [STORAGE_TYPE_OPT, cli.DRY_RUN_OPT, cli.PRIORITY_OPT, *cli.SUBMIT_OPTS],
        "-s ceph [--dry-run] [--submit] <node-group>",
        "Makes a storage cluster on the nodes of a group",
    )
    commands["repair"] = (
        repair,
        cli.ARGS_MANY_NODES,
        [ARCHIVE_OPT, cli.DRY_RUN_OPT, cli.PRIORITY_OPT, *cli.SUBMIT_OPTS],
        "[--archive-crashes] [--dry-run] [--submit] [<node>...]",
        "Does what the storage cluster, or nodes of it, lack",
    )
    commands["status"] = (
        status,
        cli.ARGS_NONE,
        [WATCH_OPT],
        "[--watch]",
        "Shows how the storage cluster is, and what there is to do",
    )
    commands["trash"] = (
        trash,
        [
            cli.ArgChoice(min=1, max=1, choices=["list", "restore", "purge"]),
            cli.ArgUnknown(min=0),
        ],
        [
            cli.NOHDR_OPT,
            cli.SEP_OPT,
            cli.USEUNITS_OPT,
            IMAGE_NAME_OPT,
            ALL_IMAGES_OPT,
            cli.FORCE_OPT,
            cli.PRIORITY_OPT,
            *cli.SUBMIT_OPTS,
        ],
        "list | [--name=NAME] restore <id> | [--force [--all]] purge [<id>...]",
        "Lists, restores or deletes the images of removed disks in Ceph's trash",
    )
