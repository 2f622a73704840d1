"""Databases of OSDs on logical volumes of devices that several OSDs share."""

import os
from collections.abc import Collection, Container, Iterable, Sequence
from pathlib import Path

from ganeti_ceph.errors import ExecError
from ganeti_ceph.node import devices
from ganeti_ceph.node.devices import Volume
from ganeti_ceph.run import Runner

#: Where what cryptsetup opened is.
_MAPPER = Path("/dev/mapper")


def remove(
    gone: Collection[tuple[str, str]], fsid: str, own: Container[str], run: Runner
) -> None:
    """Remove the databases of OSDs that are no more; no other volume is touched.

    ``gone`` are devices, and for each the UUID of such an OSD; ``own`` are those of
    OSDs whose data may be on this node, as it goes next.  Raises :class:`ExecError`,
    and removes nothing, where data of others is on this node or something uses a
    database.
    """
    ids, data = _on_node(run)
    stale: dict[str, tuple[list[Volume], bool]] = {}
    for path in dict(gone):
        found, _ = devices.volumes(os.path.realpath(path), run)
        if fixed := devices.fixed_group(found):
            raise ExecError(f"nothing is removed from {path}: {fixed}")
        old = [one for one in found if _is_of(one, fsid, {osd for _, osd in gone})]
        stale[path] = old, len(old) == len(found)
    for volume in (one for old, _ in stale.values() for one in old):
        osd = volume.tags["osd_fsid"]
        if osd in data and osd not in own:
            raise ExecError(
                f"{volume.path} is the database of osd.{volume.tags.get('osd_id')},"
                " whose data is on this node"
            )
        name = ids.get((volume.group, volume.name), "")
        if name and volume.tags.get("encrypted") == "1" and (_MAPPER / name).exists():
            # Its OSD left it open.
            run(["cryptsetup", "close", name])
        if used := devices.volume_user(volume.path):
            raise ExecError(f"{volume.path} is in use: {used}")
    for path, (old, all_go) in stale.items():
        if old and all_go:
            # A group without a volume would be nobody's.
            devices.wipe(devices.look(path, run), run)
            continue
        for volume in old:
            _remove(volume, run)


def remove_unfinished(paths: Iterable[str], run: Runner) -> None:
    """Remove what ceph-volume began and put nothing in; its room is taken again."""
    for path in map(os.path.realpath, paths):
        # Some are blank, or have just become so.
        if "LVM2_member" in devices.signatures(path, run):
            found, _ = devices.volumes(path, run)
            for volume in devices.unfinished(found, run):
                _remove(volume, run)


def _remove(volume: Volume, run: Runner) -> None:
    run(["lvremove", "--force", "--yes", f"{volume.group}/{volume.name}"])


def _is_of(volume: Volume, fsid: str, gone: Container[str]) -> bool:
    return (
        devices.is_database(volume)
        and volume.tags["cluster_fsid"] == fsid
        and volume.tags.get("osd_fsid") in gone
    )


def _on_node(run: Runner) -> tuple[dict[tuple[str, str], str], set[str]]:
    """Return LVM's ids of this node's volumes, and the OSDs that have data on them."""
    fields = "vg_name,lv_name,lv_uuid,lv_tags"
    options: Sequence[str] = ("--noheadings", "--separator=;", "--options", fields)
    ids, data = {}, set()
    for line in run(["lvs", *options], timeout=30).splitlines():
        group, name, volume, text = line.strip().split(";")
        ids[group, name] = volume
        told = devices.tags(text)
        if told.get("type") not in ("db", "wal"):
            data.add(told.get("osd_fsid", ""))
    return ids, data
