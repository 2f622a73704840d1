"""Samples for the tests of what is made of them."""

import dataclasses
from typing import Any

from ganeti_ceph.collector.facts import (
    Capacity,
    Check,
    Daemon,
    Device,
    Gap,
    Groups,
    Health,
    Image,
    ImageIo,
    ImageUse,
    Mgr,
    Mon,
    Names,
    Osd,
    OsdCounts,
    Pool,
    Progress,
    Rates,
    Recovery,
    Sample,
)

GIB = 2**30
NOW = 1_795_253_905.25

NAMES = Names(
    "cluster.example",
    tuple((f"10.77.0.{one}", f"node{one}.example") for one in (1, 2, 3)),
    tuple((f"node{one}", f"node{one}.example") for one in (1, 2, 3)),
)
STILL = Recovery(None, 0, 0, 0, 0.0, 0.0)
GROUPS = Groups(128, (("active+clean", 128),), 0, STILL, Rates(1.0, 2.5, 3.0, 4.0), ())
MOVING = dataclasses.replace(
    GROUPS,
    states=(("active+clean", 100), ("active+undersized+degraded+recovering", 28)),
    recovery=Recovery(300, 60, 20, 1, 8.0, 4096.0),
    progress=(Progress("Rebalancing", 0.5),),
)
IO = ImageIo(NOW, 5, 5120, 0.5, 7, 7168, 0.25)


def check(name: str, message: str = "something", **changes: Any) -> Check:
    """Return a health check."""
    return dataclasses.replace(
        Check(name, "HEALTH_WARN", message, ("a detail",), False), **changes
    )


def warns(*checks: Check) -> Health:
    """Return the health of a cluster with such checks."""
    return Health("HEALTH_WARN", checks)


def osd(number: int, **changes: Any) -> Osd:
    """Return an OSD, the first on node1 and so on."""
    value = Osd(
        number, f"node{number + 1}", True, True, "hdd", 10 * GIB, GIB, 96, 0.002, 0.003
    )
    return dataclasses.replace(value, **changes)


def daemon(kind: str, name: str, **changes: Any) -> Daemon:
    """Return a daemon that has run for a minute."""
    value = Daemon(
        *(kind, name, "active", "running", 0),
        pid=100,
        started=NOW - 60,
        memory=2**27,
        cpu=1.5,
        version="18.2.7",
        devices=("sdb",),
    )
    return dataclasses.replace(value, **changes)


def image(number: int = 0, **changes: Any) -> Image:
    """Return the image of an instance's first disk that node1 has open."""
    value = Image(
        "rbd",
        "",
        f"0a-{number}.rbd.disk0",
        use=ImageUse(
            NOW - 5,
            GIB,
            2**20,
            ("10.77.0.1",),
            "10.77.0.1",
            "cluster.example",
            f"web{number}.example",
            "0",
        ),
    )
    return dataclasses.replace(value, **changes)


def sample(**changes: Any) -> Sample:
    """Return the sample of a healthy cluster, taken by the leader, node1."""
    values: dict[str, Any] = {
        "host": "node1",
        "names": NAMES,
        "taken": NOW,
        "seconds": 0.25,
        "leader": "node1",
        "fsid": "5b6a3ad2-2d6e-4b0c-9a5e-0d3f6a1c7e11",
        "health": Health("HEALTH_OK", ()),
        "mons": tuple(
            Mon(f"node{one}", f"10.77.0.{one}", True, f"node{one}", "18.2.7")
            for one in (1, 2, 3)
        ),
        "mgrs": (
            Mgr("node1", True, "node1", "18.2.7"),
            Mgr("node2", False, "node2", "18.2.7"),
        ),
        "counts": OsdCounts(3, 3, 3),
        "groups": GROUPS,
        "capacity": Capacity(30 * GIB, 3 * GIB, 27 * GIB),
        "pools": (
            Pool(
                *("rbd", 1, GIB, 256, 3 * GIB, 9 * GIB, None, None),
                *(1, 2, 3, 4, 3, 2, 128, ("rbd",)),
            ),
        ),
        "osds": (osd(0), osd(1), osd(2)),
        "devices": (Device("ACME_1", "node1", "sdb", ("osd.0",), None, None, 0.25),),
        "daemons": (
            daemon("mon", "node1"),
            daemon("mgr", "node1"),
            daemon("osd", "0"),
        ),
        "images": (image(0, io=IO, rates=Rates(1.0, 2.0, 3.0, 4.0)),),
    }
    return Sample(**{**values, **changes})


def silent(reason: str = "no answer") -> Sample:
    """Return what a node knows while the storage cluster does not answer."""
    gone = ["fsid", "health", "mons", "mgrs", "counts", "groups", "capacity", "pools"]
    gone += ["osds", "devices", "images"]
    gaps = tuple(Gap(one, reason, NOW - 60) for one in gone if one != "fsid")
    return sample(**dict.fromkeys(gone), gaps=gaps, leader=None)
