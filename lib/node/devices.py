"""Block devices: which there are, what they carry, and wiping them."""

import dataclasses
import errno
import glob
import json
import os
import re
import stat
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ganeti_ceph.errors import ExecError
from ganeti_ceph.facts import Database, Device, Label
from ganeti_ceph.run import Runner

#: Where the nodes of logical volumes are, by group and name.
_DEV = Path("/dev")
#: How much is read at both ends of a device, to see whether it can be read at all.
_PROBED = 2**20
#: Seconds after which another one who looks at a device is long done.
_LOOK = 1
#: How much is zeroed at both ends of a device that is wiped, in bytes.
WIPED = 100 * 2**20
#: How ceph-volume names its volume groups, and the volumes of OSDs.
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_GROUP = re.compile(f"ceph-{_UUID}")
_VOLUME = re.compile(f"osd-(block|db|wal)-({_UUID})")
#: Names that stay with a device, from the one that tells it best.
_STABLE = ("/dev/disk/by-id", "/dev/disk/by-path", "/dev/disk/by-partuuid")


@dataclasses.dataclass(frozen=True)
class Volume:
    """A logical volume."""

    group: str
    name: str
    #: What ceph-volume noted with it, see
    #: https://docs.ceph.com/en/latest/dev/ceph-volume/lvm/.
    tags: Mapping[str, str]
    #: Bytes.
    size: int
    #: How many devices its group has.
    devices: int = 1

    @property
    def path(self) -> str:
        return str(_DEV / self.group / self.name)


def expand(patterns: Sequence[str]) -> list[str]:
    """Return the paths that patterns match; a plain path also if it is missing."""
    paths: list[str] = []
    for pattern in patterns:
        # The pattern is a whole path, which Path.glob does not take.
        matches = sorted(glob.glob(pattern))  # noqa: PTH207
        found = matches if glob.has_magic(pattern) else [pattern]
        paths += [path for path in found if path not in paths]
    return paths


def look(path: str, run: Runner) -> Device:
    """Return what is known of a device; it is only read."""
    real = os.path.realpath(path)
    try:
        mode = Path(real).stat().st_mode
    except OSError:
        return Device(path, "", "", 0, "", "", None)
    if not stat.S_ISBLK(mode):
        return Device(path, real, path, 0, "it is no block device", "", None)
    held, failing, size = _open_exclusively(real)
    busy = user(real) or held
    try:
        types = signatures(real, run)
    except ExecError:
        if not failing:
            raise
        types = ()
    content = _phrase(types, real)
    label = None
    databases: tuple[Database, ...] = ()
    free, fixed, nothing = 0, "", False
    registered: tuple[str, ...] = ()
    # What cannot be read may be an OSD's: nobody but the administrator may say that
    # it is of no use, and not with wipe=yes.
    try:
        if "ceph_bluestore" in types:
            label = _bluestore_label(real, run)
        elif "LVM2_member" in types:
            found, free = volumes(real, run)
            begun = unfinished(found, run)
            rest = [one for one in found if one not in begun]
            label, in_use = _osd_of(rest, run)
            databases = tuple(_database(one) for one in rest if is_database(one))
            fixed = fixed_group(found)
            free += sum(one.size for one in begun)
            if label is not None:
                # The kernel holds it for its volumes, which may be idle themselves.
                busy = in_use
            elif group := _volume_group(real, run):
                nothing = not rest and _is_begun_group(group, run)
                if nothing:
                    busy, content = "", ""
                    registered = tuple(_registered(begun))
                else:
                    busy = busy or f"it belongs to the volume group {group}"
    except (ExecError, ValueError) as err:
        busy = busy or f"what it carries cannot be read: {err}"
    if label is not None:
        content = (
            f"an OSD of the storage cluster {label.fsid}"
            if label.fsid
            else "the metadata of an OSD"
        )
    stable = stable_path(path, real)
    return Device(
        path,
        real,
        stable,
        size,
        busy,
        content,
        label,
        _whole(real),
        failing,
        databases,
        free if databases else 0,
        fixed if databases else "",
        nothing,
        registered,
    )


def stable_path(path: str, real: str) -> str:
    """Return the name of a device that stays the same over reboots, and when wiped."""
    if path.startswith("/dev/disk/") and not _of_content(Path(path)):
        return path
    for directory in _STABLE:
        for name in sorted(Path(directory).glob("*")):
            if not _of_content(name) and os.path.realpath(name) == real:
                return str(name)
    return real


def _of_content(name: Path) -> bool:
    """Tell whether udev made a name from what the device carries."""
    return name.parent.name in ("by-uuid", "by-label") or name.name.startswith(
        ("lvm-pv-uuid-", "dm-", "md-")
    )


def _whole(real: str) -> str:
    """Return the disk that a partition is of, "" for what is none."""
    sysfs = Path("/sys/class/block", Path(real).name)
    if not (sysfs / "partition").exists():
        return ""
    return f"/dev/{sysfs.resolve().parent.name}"


def _open_exclusively(real: str) -> tuple[str, str, int]:
    """Return why a device cannot be had for ourselves, or not be read, and its size.

    Both are "" if it can.  The kernel gives a block device exclusively only while no
    file system, swap, volume group, RAID or other exclusive opener has it.
    """
    busy = ""
    try:
        try:
            handle = os.open(real, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)
        except OSError as err:
            if err.errno != errno.EBUSY:
                raise
            busy = "the kernel says that something holds it"
            handle = os.open(real, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as err:
        return busy, f"it cannot be opened ({err.strerror})", 0
    try:
        size = os.lseek(handle, 0, os.SEEK_END)
        # wipefs takes for blank what it cannot read.
        for start in {0, max(0, size - _PROBED)}:
            os.pread(handle, _PROBED, start)
    except OSError as err:
        return busy, f"it cannot be read ({err.strerror})", 0
    else:
        return busy, "", size
    finally:
        os.close(handle)


def user(real: str) -> str:
    """Return who uses a device or a partition of it, "" if nobody is known."""
    number = Path(real).stat().st_rdev
    sysfs = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    numbers = {f"{os.major(number)}:{os.minor(number)}"}
    for partition in sysfs.glob("*/partition"):
        numbers.add((partition.parent / "dev").read_text().strip())
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[2] in numbers:
            return f"mounted on {fields[4]}"
    for line in Path("/proc/swaps").read_text().splitlines()[1:]:
        if os.path.realpath(line.split()[0]) == real:
            return "swap"
    holders = sorted(path.name for path in sysfs.glob("holders/*"))
    if holders:
        return f"held by {', '.join(holders)}"
    return ""


def signatures(real: str, run: Runner) -> tuple[str, ...]:
    """Return the types of all signatures on a device, as wipefs(8) names them."""
    output = run(["wipefs", "--noheadings", "--parsable", real], timeout=30)
    # offset,uuid,label,type: a label may hold commas, a type does not.
    types = [line.rpartition(",")[2] for line in output.splitlines() if line]
    return tuple(dict.fromkeys(types))


def _phrase(types: Sequence[str], real: str) -> str:
    """Return what a device carries as a phrase, "" for nothing."""
    tables = [kind for kind in types if kind in ("dos", "gpt", "PMBR", "mac", "sun")]
    others = [kind for kind in types if kind not in tables]
    phrases = [f"a partition table ({', '.join(tables)})"] if tables else []
    if not tables and list(
        Path("/sys/class/block", Path(real).name).glob("*/partition")
    ):
        phrases.append("partitions")
    return " and ".join(others + phrases)


def _bluestore_label(real: str, run: Runner) -> Label:
    answer = json.loads(run(["ceph-bluestore-tool", "show-label", "--dev", real]))
    label: dict[str, Any] = next(iter(answer.values()), {})
    if not label.get("osd_uuid"):
        raise ExecError("its BlueStore label names no OSD")
    whoami = str(label.get("whoami", ""))
    return Label(
        fsid=str(label.get("ceph_fsid", "")),
        osd_uuid=str(label["osd_uuid"]),
        osd_id=int(whoami) if whoami.isdigit() else None,
        # The last that is written.
        complete=label.get("ready") == "ready",
    )


def volumes(real: str, run: Runner) -> tuple[list[Volume], int]:
    """Return the logical volumes on a device, and the bytes that more may have there.

    None in a volume group that ceph-volume did not make, as it uses no other.
    """
    options = "--noheadings --segments --separator=; --units=b --nosuffix"
    fields = "lv_tags,pv_count,vg_name,lv_name,pvseg_size,vg_extent_size"
    output = run(["pvs", *options.split(), "--options", fields, real], timeout=30)
    found: dict[str, Volume] = {}
    free = 0
    for line in output.splitlines():
        text, count, group, name, extents, extent = line.strip().split(";")
        if not group:
            continue
        size = int(extents) * int(extent)
        if name:
            # It may lie in several pieces.
            before = found[name].size if name in found else 0
            found[name] = Volume(group, name, tags(text), before + size, int(count))
        # What is free is a segment, too.
        elif group.startswith("ceph-"):
            free += size
    return list(found.values()), free


def fixed_group(found: Iterable[Volume]) -> str:
    """Return why no volume of a device's group may be made or removed, "" if any may.

    ceph-volume makes groups of its own, on one device each, and uses no other.
    """
    for volume in found:
        if not volume.group.startswith("ceph-"):
            return f"its volume group {volume.group} is not ceph-volume's"
        if volume.devices != 1:
            return f"its volume group {volume.group} has other devices, too"
    return ""


def unfinished(found: Iterable[Volume], run: Runner) -> list[Volume]:
    """Return the volumes that ceph-volume made, and was ended before it used them.

    It notes the OSD before anything is written.  They carry nothing, and nothing uses
    them.
    """
    return [
        one
        for one in found
        if _GROUP.fullmatch(one.group)
        and _VOLUME.fullmatch(one.name)
        # It may note first that it knows none.
        and one.tags.get("osd_fsid", "null") == "null"
        and one.tags.get("cluster_fsid", "null") == "null"
        # Of one that is not active nobody can tell.
        and Path(one.path).exists()
        and not volume_user(one.path)
        and not signatures(one.path, run)
    ]


def _registered(found: Iterable[Volume]) -> Iterator[str]:
    """Return the UUIDs that the OSDs were registered with whose disks these are for."""
    for volume in found:
        # That of a database has a UUID of its own.
        if (name := _VOLUME.fullmatch(volume.name)) and name[1] == "block":
            yield name[2]


def _is_begun_group(group: str, run: Runner) -> bool:
    """Tell whether a volume group is as ceph-volume makes them for one OSD."""
    return bool(_GROUP.fullmatch(group)) and _device_count(group, run) == 1


def tags(text: str) -> dict[str, str]:
    """Return ceph-volume's notes out of a logical volume's tags."""
    return dict(re.findall(r"ceph\.(\w+)=([^,\s]*)", text))


def is_database(volume: Volume) -> bool:
    """Tell whether a logical volume is that of an OSD's database."""
    return "cluster_fsid" in volume.tags and volume.tags.get("type") == "db"


def _database(volume: Volume) -> Database:
    told = volume.tags
    osd_uuid = told.get("osd_fsid", "")
    return Database(told["cluster_fsid"], osd_uuid, _number(told), volume.size)


def _number(told: Mapping[str, str]) -> int | None:
    osd_id = told.get("osd_id", "")
    return int(osd_id) if osd_id.isdigit() else None


def _osd_of(found: Sequence[Volume], run: Runner) -> tuple[Label | None, str]:
    """Return what ceph-volume noted of the OSD on these volumes, and their user."""
    label, busy = None, ""
    for volume in found:
        if volume.devices != 1:
            busy = busy or f"its volume group {volume.group} has other devices, too"
        busy = busy or volume_user(volume.path)
        if "cluster_fsid" not in volume.tags:
            busy = busy or f"its volume {volume.path} is not Ceph's"
        elif label is None:
            label = _tagged_label(volume.tags, volume.path, run)
    return label, busy


def _tagged_label(told: Mapping[str, str], path: str, run: Runner) -> Label:
    """Return what a logical volume's tags say of the OSD on it."""
    complete = True
    # Of a volume that is not active, or is encrypted, nobody can tell.
    plain = told.get("type") == "block" and told.get("encrypted") != "1"
    if plain and Path(path).exists():
        types = signatures(path, run)
        if "ceph_bluestore" in types:
            complete = _bluestore_label(path, run).complete
        else:
            complete = bool(types)
    return Label(
        told["cluster_fsid"], told.get("osd_fsid", ""), _number(told), complete
    )


def volume_user(path: str) -> str:
    """Return who uses a logical volume, "" for nobody."""
    if not Path(path).exists():
        return ""
    held, _, _ = _open_exclusively(path)
    used = user(os.path.realpath(path)) or held
    return f"its volume {path}: {used}" if used else ""


def _volume_group(real: str, run: Runner) -> str:
    command = ["pvs", "--noheadings", "--options", "vg_name", real]
    return run(command, timeout=30).strip()


def _device_count(group: str, run: Runner) -> int:
    command = ["vgs", "--noheadings", "--options", "pv_count", group]
    return int(run(command, timeout=30))


def check_unchanged(
    path: str, wipe: bool, run: Runner, *, own: Container[str] = ()
) -> Device:
    """Look at a device again just before it is written to; refuse what is unsafe.

    ``own`` are the UUIDs of OSDs that may be on it, begun and not finished.
    """
    device = look(path, run)
    if device.busy:
        # Who looks at it ('gnt-storage status' does) has it for a moment, too.
        time.sleep(_LOOK)
        device = look(path, run)
    if not device.real_path:
        raise ExecError(f"{path} is gone")
    if device.failing:
        raise ExecError(f"{path} has failed: {device.failing}")
    if device.busy:
        raise ExecError(f"{path} is in use: {device.busy}")
    ours = (
        device.label is not None
        and device.label.osd_uuid in own
        and not device.label.complete
    )
    if device.content and not wipe and not ours:
        raise ExecError(f"{path} carries {device.content} now, it was empty before")
    return device


def wipe(device: Device, run: Runner) -> None:
    """Destroy what a device carries: its volumes and signatures, and both its ends."""
    if "LVM2_member" in signatures(device.real_path, run):
        if group := _volume_group(device.real_path, run):
            if _device_count(group, run) != 1:
                raise ExecError(f"its volume group {group} has other devices, too")
            # LVM refuses while one of its volumes is open.
            run(["lvremove", "--force", "--yes", group])
        # The empty group goes at once with the label: nobody could tell that what has
        # the label alone was ours.
        run(["pvremove", "--force", "--force", "--yes", device.real_path])
    run(["wipefs", "--all", device.real_path])
    handle = os.open(device.real_path, os.O_WRONLY | os.O_EXCL | os.O_CLOEXEC)
    try:
        length = min(WIPED, device.size)
        block = bytes(2**20)
        for start in {0, device.size - length}:
            os.lseek(handle, start, os.SEEK_SET)
            left = length
            while left > 0:
                left -= os.write(handle, block[: min(left, len(block))])
        os.fsync(handle)
    finally:
        os.close(handle)
