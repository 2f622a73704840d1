"""The facts of this node."""

import json
import socket
import time
from pathlib import Path

from ganeti_ceph.disk.uri import DISK_USER
from ganeti_ceph.errors import ExecError
from ganeti_ceph.facts import NodeFacts, OsdDir
from ganeti_ceph.node import collector, devices, files, keys, services
from ganeti_ceph.plan import PACKAGES
from ganeti_ceph.rpc import Look
from ganeti_ceph.run import Runner

_SYS_BLOCK = "/sys/block"


def look(asked: Look, run: Runner) -> NodeFacts:
    """Return what planning needs to know of this node; nothing is changed."""
    began = time.time()
    mons, osds = _daemons("mon"), _osds()
    try:
        conf = files.CONF.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        conf = None
    return NodeFacts(
        hostname=socket.gethostname().partition(".")[0],
        packages=_packages(run),
        conf=conf,
        has_keys=files.ADMIN_KEYRING.exists(),
        has_client=files.keyring(DISK_USER).exists(),
        has_collector=collector.present(run),
        mons=mons,
        mgrs=_daemons("mgr"),
        osds=osds,
        disks=tuple(devices.look(path, run) for path in devices.expand(asked.disks)),
        db_devices=tuple(
            devices.look(path, run) for path in devices.expand(asked.db_devices)
        ),
        addresses=addresses(run),
        device_mapper="device-mapper" in Path("/proc/misc").read_text(),
        loose_keys=keys.loose(),
        stopped=services.stopped(
            [*(("mon", one) for one in mons), *(("osd", str(one.id)) for one in osds)],
            run,
        ),
        clock=(began, time.time()),
    )


def _packages(run: Runner) -> tuple[tuple[str, str], ...]:
    output = run(
        [
            *("dpkg-query", "--show"),
            "--showformat=${db:Status-Status} ${Package} ${Version}\\n",
            *PACKAGES,
            "ceph-volume",
        ],
        ok=(0, 1),
    )
    rows = [line.split() for line in output.splitlines()]
    return tuple((row[1], row[2]) for row in rows if row[0] == "installed")


def _daemons(kind: str) -> tuple[str, ...]:
    paths = sorted((files.DATA / kind).glob("ceph-*"))
    return tuple(path.name.removeprefix("ceph-") for path in paths)


def _osds() -> tuple[OsdDir, ...]:
    found = []
    for name in _daemons("osd"):
        if not name.isdigit():
            continue
        directory = files.daemon_dir("osd", name)
        fsid = files.read(directory / "ceph_fsid")
        # A directory without it is of an OSD that was begun and not finished.
        if fsid is not None:
            block = directory / "block"
            device = _disk_below(str(block.resolve())) if block.exists() else None
            found.append(
                OsdDir(int(name), fsid, files.read(directory / "fsid"), device)
            )
    return tuple(found)


def _disk_below(real: str) -> str | None:
    """Return the disk that a logical volume lies on, or one of several; else itself.

    None if there is none: the kernel keeps a volume whose disk was pulled out.
    """
    while Path(real).name.startswith("dm-"):
        slaves = Path(_SYS_BLOCK, Path(real).name, "slaves")
        below = sorted(one for one in slaves.glob("*") if one.exists())
        if not below:
            return None
        real = f"/dev/{below[0].name}"
    return real


def addresses(run: Runner) -> tuple[str, ...]:
    """Return this node's addresses, each with the length of its network's prefix."""
    try:
        links = json.loads(run(["ip", "-json", "address"]))
    except ValueError as err:
        raise ExecError("the program ip does not print its addresses as JSON") from err
    return tuple(
        f"{address['local']}/{address['prefixlen']}"
        for link in links
        for address in link.get("addr_info", ())
        if address.get("scope") == "global"
    )
