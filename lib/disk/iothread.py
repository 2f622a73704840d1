"""A thread of QEMU's for one disk, beside the one that does all other I/O."""

from collections.abc import Iterable, Sequence
from typing import Any

from ganeti_ceph.disk import device, options
from ganeti_ceph.disk.monitor import Monitor

#: The only kind of disk that has a thread of its own; one of SCSI shares its bus's.
_DRIVER = "virtio-blk-pci"
#: That kind's option for it.
_OPTION = "iothread"


def start(disks: Iterable[Any], words: Sequence[str]) -> list[str]:
    """Return QEMU's options for disks with those for their threads."""
    told = list(words)
    for disk in disks:
        thread = _wanted(disk)
        if thread is None:
            continue
        drive, option = f"drive={disk.hvinfo['id']}", f"{_OPTION}={thread}"
        for place, word in enumerate(told):
            parts = word.split(",")
            # One that was plugged in has it in what Ganeti keeps of the device.
            if drive in parts and option not in parts:
                told[place] += f",{option}"
        told[:0] = ["-object", f"iothread,id={thread}"]
    return told


def extend_attributes(attributes: list[str]) -> None:
    """Let Ganeti hand the thread's name to QEMU, of what it keeps of a device."""
    attributes.append(_OPTION)


def plug(disk: Any, qemu: Monitor) -> None:
    """Have a running QEMU start the thread for a disk that is plugged in next.

    It stays when the disk is unplugged, idle, and is there for the next one of its
    name.
    """
    thread = _wanted(disk)
    if thread is None:
        return
    if thread not in {one["id"] for one in qemu.run("query-iothreads")}:
        qemu.run("object-add", **{"qom-type": "iothread", "id": thread})
    disk.hvinfo[_OPTION] = thread


def _wanted(disk: Any) -> str | None:
    """Return the name of the thread that a disk is to have, None for none."""
    if not device.is_rbd(disk) or not options.read(disk.params).io_thread:
        return None
    # Of an IDE disk Ganeti 3.0 knows no driver.
    if (disk.hvinfo or {}).get("driver") != _DRIVER:
        return None
    return f"io-{disk.hvinfo['id']}"
