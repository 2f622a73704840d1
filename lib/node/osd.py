"""OSDs on this node."""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import rados

from ganeti_ceph import ceph, secret
from ganeti_ceph.errors import ExecError
from ganeti_ceph.node import config, databases, devices, files, services
from ganeti_ceph.node.cluster import count_inactive
from ganeti_ceph.run import Runner
from ganeti_ceph.secret import Secret
from ganeti_ceph.steps import MakeLvmOsds, MakeOsd, StartOsd, names_of

_VOLUME_LOG = "/var/log/ceph/ceph-volume.log"
_PROC = Path("/proc")
#: Seconds for ceph-volume to make all OSDs of a step.
_VOLUME_LIMIT = 480


def make(step: MakeOsd, run: Runner) -> str:
    """Make a BlueStore OSD on a device and start it."""
    paths = [step.device] + ([step.db_device] if step.db_device else [])
    found = [
        devices.check_unchanged(path, path in step.wipe, run, own=(step.osd_uuid,))
        for path in paths
    ]
    with ceph.connect(key=step.admin) as cluster:
        if step.replaces is not None:
            _stop_lost(cluster, (step.replaces,), run)
            _destroy(cluster, (step.replaces,), run)
        osd_id, key = _register(cluster, step.osd_uuid, step.replaces)
        if step.device_class:
            ceph.command(
                cluster,
                "osd crush set-device-class",
                **{"class": step.device_class, "ids": [f"osd.{osd_id}"]},
            )
    for device in found:
        if device.content or device.unfinished:
            devices.wipe(device, run)
    owner = files.ceph_ids()
    directory = files.daemon_dir("osd", str(osd_id))
    # What stands here is of an OSD that was begun and never finished: the cluster
    # has just given its number away.
    shutil.rmtree(directory, ignore_errors=True)
    files.make_dir(directory, owner)
    for name, path in zip(("block", "block.db"), paths, strict=False):
        _link(directory / name, path, owner)
    files.write(
        directory / "keyring", config.keyring(f"osd.{osd_id}", key), 0o600, owner
    )
    with ThreadPoolExecutor(1) as aside:
        prepared = aside.submit(services.prepare_osds, run)
        run(
            [
                *("ceph-osd", "--mkfs", "--id", str(osd_id)),
                *("--osd-uuid", step.osd_uuid),
                *("--osd-objectstore", "bluestore", "--no-mon-config"),
                *("--setuser", "ceph", "--setgroup", "ceph"),
            ],
            timeout=180,
        )
        prepared.result()
    services.start("osd", str(osd_id), run)
    return f"osd.{osd_id} runs on {step.device}"


def start(step: StartOsd, run: Runner) -> str:
    """Start the OSD that a device carries, making its directory anew if need be."""
    device = devices.look(step.device, run)
    if device.label is None or device.label.osd_uuid != step.osd_uuid:
        raise ExecError(f"{step.device} does not carry OSD {step.osd_uuid} any more")
    osd_id = str(step.osd_id)
    if "LVM2_member" in devices.signatures(device.real_path, run):
        services.prepare_osds(run)
        # ceph-volume starts it with nothing but systemctl start.
        services.forgive("osd", osd_id, run)
        run(["ceph-volume", "lvm", "activate", osd_id, step.osd_uuid], timeout=120)
        return f"osd.{osd_id} runs on {step.device}"
    owner = files.ceph_ids()
    directory = files.daemon_dir("osd", osd_id)
    present = files.read(directory / "fsid")
    if present not in (None, step.osd_uuid):
        raise ExecError(
            f"{directory} is of another OSD, {present}, than the osd.{osd_id} that"
            f" {step.device} carries; remove the directory if that OSD is gone"
        )
    files.make_dir(directory, owner)
    # A device may have moved since.
    _link(directory / "block", step.device, owner)
    if step.db_device:
        _link(directory / "block.db", step.db_device, owner)
    if present is None:
        run(
            [
                *("ceph-bluestore-tool", "prime-osd-dir"),
                *("--path", str(directory), "--dev", device.real_path),
            ]
        )
        for path in directory.iterdir():
            os.chown(path, *owner, follow_symlinks=False)
    if not (directory / "keyring").exists():
        with ceph.connect(key=step.admin) as cluster:
            answer = ceph.command(cluster, "auth get", entity=f"osd.{osd_id}")
        text = config.keyring(f"osd.{osd_id}", Secret(answer[0]["key"]))
        files.write(directory / "keyring", text, 0o600, owner)
    services.prepare_osds(run)
    services.start("osd", osd_id, run)
    return f"osd.{osd_id} runs on {step.device}"


def make_on_lvm(step: MakeLvmOsds, run: Runner) -> str:
    """Make OSDs on logical volumes, which ceph-volume lays out and starts."""
    _refuse_beside_another()
    found = [
        devices.check_unchanged(path, path in step.wipe, run, own=step.begun)
        for path in step.devices + step.db_devices
    ]
    with ceph.connect(key=step.admin) as cluster:
        answer = ceph.command(
            cluster,
            "auth get-or-create",
            entity="client.bootstrap-osd",
            caps=["mon", "allow profile bootstrap-osd"],
        )
        _stop_lost(cluster, step.replaces, run)
        gone = {osd for _, osd in step.gone}
        taken, begun = set(), []
        for osd in ceph.command(cluster, "osd dump")["osds"]:
            if osd["uuid"] in step.begun:
                _check_begun(osd)
                begun.append(osd)
            elif osd["uuid"] in gone and osd["osd"] not in step.replaces:
                raise ExecError(f"osd.{osd['osd']} is there again, its database stays")
            elif osd["osd"] not in step.replaces and "new" not in osd["state"]:
                taken.add(str(osd["osd"]))
        if step.gone:
            own = {one.label.osd_uuid for one in found if one.label}
            # While they are still known: this may be killed at any moment.
            databases.remove(step.gone, step.fsid, own, run)
        for osd in begun:
            _forget_begun(cluster, osd)
        databases.remove_unfinished(dict(step.databases), run)
        _destroy(cluster, step.replaces, run)
    # ceph-volume finds its key nowhere else.
    files.write(
        files.DATA / "bootstrap-osd" / "ceph.keyring",
        config.keyring("client.bootstrap-osd", Secret(answer[0]["key"])),
        0o600,
        files.ceph_ids(),
    )
    for device in found:
        if device.content or device.unfinished:
            devices.wipe(device, run)
    services.prepare_osds(run)
    # ceph-volume starts them with nothing but systemctl start.
    services.forgive_free(taken, run)
    end = time.monotonic() + _VOLUME_LIMIT
    try:
        for command in _volume_commands(step):
            run(command, timeout=max(1, end - time.monotonic()))
    except ExecError as err:
        # The last it says is of how it undid what it had begun.
        raise ExecError(f"{err} (the cause is told in {_VOLUME_LOG})") from err
    # It is content to leave a device alone that it finds unfit.
    for path in step.devices:
        if devices.look(path, run).label is None:
            raise ExecError(
                f"ceph-volume made no OSD on {path}: 'ceph-volume inventory {path}'"
                f" tells what it has against it, or {_VOLUME_LOG}"
            )
    return f"OSDs run on {', '.join(step.devices)}"


def _volume_commands(step: MakeLvmOsds) -> Iterator[list[str]]:
    options = ["--bluestore"]
    if step.encrypt:
        options.append("--dmcrypt")
    if step.device_class:
        options += ["--crush-device-class", step.device_class]
    ids = [str(one) for one in step.replaces]
    if not step.databases:
        # Of disks of two kinds it would else take the faster ones for databases.
        command = ["ceph-volume", "lvm", "batch", "--no-auto", "--yes", *options]
        command += step.devices
        if step.db_devices:
            command += ["--db-devices", *step.db_devices]
        yield [*command, "--osd-ids", *ids] if ids else command
        return
    # As many databases as it is given disks is the most that "batch" would have there.
    for device, (db_device, size) in zip(step.devices, step.databases, strict=True):
        command = ["ceph-volume", "lvm", "create", *options, "--data", device]
        command += ["--block.db", db_device, "--block.db-size", f"{size}B"]
        yield [*command, "--osd-id", ids.pop(0)] if ids else command


def _stop_lost(cluster: rados.Rados, osd_ids: Sequence[int], run: Runner) -> None:
    """Stop OSDs whose devices are gone for good.

    Raises :class:`ExecError` if one has come back, or data is not served without them.
    """
    if not osd_ids:
        return
    names = names_of(osd_ids)
    for osd in ceph.command(cluster, "osd dump")["osds"]:
        if osd["osd"] in osd_ids and osd["up"]:
            raise ExecError(f"osd.{osd['osd']} is up again, it is not made anew")
    status = ceph.command(cluster, "status")
    if not status["mgrmap"]["available"]:
        # What the mons tell then is what the last one counted.
        raise ExecError(
            f"no mgr is active, so nobody knows what else holds the data of {names},"
            " and nothing is made anew"
        )
    inactive = count_inactive(status)
    if inactive:
        raise ExecError(
            f"{inactive} placement groups are not active and may need the old device"
            f" of {names}, so nothing is made anew"
        )
    # One that hangs would keep the new one from being started, and one on logical
    # volumes be looked for at each boot.
    services.stop([("osd", str(one)) for one in osd_ids], run)


def _destroy(cluster: rados.Rados, osd_ids: Sequence[int], run: Runner) -> None:
    """Forget what OSDs that were stopped for good held, and keep their numbers."""
    for one in osd_ids:
        ceph.command(cluster, "osd destroy-actual", id=one, yes_i_really_mean_it=True)
        directory = files.daemon_dir("osd", str(one))
        # Of one on logical volumes it is a file system in memory, and what that says
        # of the old volume would be believed of the new one.
        if directory.is_mount():
            run(["umount", str(directory)])


def _register(
    cluster: rados.Rados, osd_uuid: str, replaces: int | None
) -> tuple[int, Secret]:
    """Get a number and a key for a new OSD, which may be another one's number.

    A registration of the same OSD that never came to anything is taken back first:
    its key is not known any more.
    """
    for osd in ceph.command(cluster, "osd dump")["osds"]:
        if osd["uuid"] == osd_uuid:
            _forget_begun(cluster, osd)
    key = secret.make_key()
    answer = ceph.command(
        cluster,
        "osd new",
        json.dumps({"cephx_secret": key.reveal()}).encode(),
        uuid=osd_uuid,
        **({} if replaces is None else {"id": replaces}),
    )
    return int(answer["osdid"]), key


def _forget_begun(cluster: rados.Rados, osd: Mapping[str, Any]) -> None:
    """Take back the registration of an OSD of the OSD map that never held anything."""
    _check_begun(osd)
    ceph.command(cluster, "osd purge-new", id=osd["osd"], yes_i_really_mean_it=True)


def _check_begun(osd: Mapping[str, Any]) -> None:
    """Refuse an OSD of the OSD map that may have held something."""
    if "new" not in osd["state"]:
        raise ExecError(
            f"osd.{osd['osd']} has been in use, and its device is blank now; if"
            f" its data is lost for good: 'ceph osd purge osd.{osd['osd']}', then"
            " run the command again"
        )


def _refuse_beside_another() -> None:
    """Refuse while ceph-volume is at work here; it may outlive who began it."""
    for path in _PROC.glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            # It has ended.
            continue
        named = any(Path(word).name == "ceph-volume" for word in words[:2])
        if named and {"batch", "create", "prepare"} & {*words}:
            raise ExecError(
                f"ceph-volume makes OSDs on this node already (process"
                f" {path.parent.name}); wait for its end, then run the command again"
            )


def _link(link: Path, device: str, owner: tuple[int, int]) -> None:
    """Point an OSD at its device, and give it the device."""
    link.unlink(missing_ok=True)
    link.symlink_to(device)
    os.chown(link, *owner, follow_symlinks=False)
    os.chown(link.resolve(), *owner)
