"""Stand-ins for what the extension meets: programs, Ceph, a clock, Ganeti's RPC.

They keep state, are shared by the tests, and fail on whatever they do not know.
"""

import copy
import dataclasses
import datetime
import itertools
import json
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import rados
import rbd
from ganeti import constants, objects
from ganeti import errors as ganeti_errors
from ganeti import utils as ganeti_utils

from ganeti_ceph import cephconf, plan, rpc, steps, wire
from ganeti_ceph.cephconf import Mon
from ganeti_ceph.disk.options import Mapper
from ganeti_ceph.disk.uri import Volume
from ganeti_ceph.errors import ExecError
from ganeti_ceph.facts import (
    ClusterFacts,
    CrushPlace,
    Device,
    Label,
    NodeFacts,
    Osd,
    OsdDir,
    OsdUse,
    Pool,
    Report,
    Rule,
)
from ganeti_ceph.plan import PACKAGES, Node
from ganeti_ceph.secret import Secret

RELEASES = ("bookworm", "trixie")
FSID = "5b6a3ad2-2d6e-4b0c-9a5e-0d3f6a1c7e11"
#: The administrator\'s key.
ADMIN = Secret("adm1n-s3cret==")
OTHER_FSID = "0f0f0f0f-1111-4222-8333-444444444444"
GIB = 2**30


def recorded(release: str, name: str) -> str:
    """Return what a real program of a Debian release printed."""
    path = Path(__file__).parent / "data" / release / name
    return path.read_text(encoding="utf-8")


# Facts, each with what a test does not care about


def make_device(path: str = "/dev/sdb", **changes: Any) -> Device:
    """Return a blank device of 20 GiB that nobody uses."""
    name = path.rpartition("/")[2]
    values: dict[str, Any] = {
        "path": path,
        "real_path": path,
        "stable_path": f"/dev/disk/by-id/{name}",
        "size": 20 * GIB,
        "busy": "",
        "content": "",
        "label": None,
    }
    return Device(**{**values, **changes})


def make_label(fsid: str = FSID, **changes: Any) -> Label:
    """Return the label of a whole OSD, osd.0 of the cluster that tests have."""
    values: dict[str, Any] = {
        "fsid": fsid,
        "osd_uuid": "11111111-2222-4333-8444-555555555555",
        "osd_id": 0,
        "complete": True,
    }
    return Label(**{**values, **changes})


def make_node(name: str = "node1", number: int | None = None, **changes: Any) -> Node:
    """Return a node with one blank disk and no Ceph but its packages.

    ``changes`` are of its facts, or of the node where it has such a field.
    """
    if number is None:
        number = int("".join(one for one in name if one.isdigit()) or "1")
    address = f"192.0.2.{number}"
    facts: dict[str, Any] = {
        "hostname": name.partition(".")[0],
        "packages": tuple((package, "18.2.7") for package in PACKAGES),
        "conf": None,
        "has_keys": False,
        "has_client": False,
        "has_collector": False,
        "mons": (),
        "mgrs": (),
        "osds": (),
        "disks": (make_device(),),
        "db_devices": (),
        "addresses": (f"{address}/24",),
        "device_mapper": False,
        "loose_keys": (),
        "stopped": (),
        "clock": (1000.0, 1000.0),
    }
    node: dict[str, Any] = {
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
        "name": name,
        "primary_ip": address,
        "secondary_ip": address,
        "places": (),
        "asked": (1000.0, 1000.0),
    }
    for field, value in changes.items():
        (node if field in node else facts)[field] = value
    return Node(**node, facts=NodeFacts(**facts))


def holds_key(*without: str) -> Callable[[str, Any], Any]:
    """Return what answers ``ceph_look`` on nodes that hold a mon, but for these."""

    def look(node: str, sent: Any) -> Any:
        wire.decode(rpc.Look, sent)
        return wire.encode(make_node(has_keys=node not in without).facts)

    return look


def make_nodes(count: int, **changes: Any) -> list[Node]:
    """Return that many nodes, node1 and so on."""
    return [make_node(f"node{index}", **changes) for index in range(1, count + 1)]


def with_facts(node: Node, **changes: Any) -> Node:
    """Return a node whose facts differ in this."""
    return dataclasses.replace(node, facts=dataclasses.replace(node.facts, **changes))


def make_cluster(**changes: Any) -> ClusterFacts:
    """Return what a cluster that has but one mon says of itself."""
    values: dict[str, Any] = {
        "fsid": FSID,
        "mons": (Mon("node1", "192.0.2.1"),),
        "quorum": ("node1",),
        "mgrs": (),
        "osds": (),
        "pools": (),
        "health": "HEALTH_OK",
        "checks": (),
    }
    return ClusterFacts(**{**values, **changes})


def osd_dir(osd_id: int = 0, fsid: str | None = FSID) -> OsdDir:
    """Return an OSD's directory."""
    return OsdDir(osd_id, fsid, "11111111-2222-4333-8444-555555555555")


# What steps come to


def effect(
    step: steps.Step,
    node: Node,
    cluster: ClusterFacts | None,
    nodes: Mapping[str, Node],
) -> tuple[Node, ClusterFacts | None]:
    """Return a node and the cluster after a step on it, as the real ones would be."""
    if isinstance(step, steps.Configure):
        text = cephconf.render(step.conf, step.place, step.hostname)
        has_keys = node.facts.has_keys or step.admin is not None
        return with_facts(node, conf=text, has_keys=has_keys), cluster
    if isinstance(step, steps.SecureKeys):
        return with_facts(node, loose_keys=()), cluster
    if isinstance(step, steps.MakeMon):
        node = with_facts(node, mons=(step.id,))
        if cluster is not None:
            cluster = dataclasses.replace(
                cluster,
                mons=tuple({*cluster.mons, Mon(step.id, step.address)}),
                quorum=(*cluster.quorum, step.id),
            )
        else:
            alive = {one.host for one in nodes.values() if one.facts.mons} | {step.id}
            if 2 * len(alive) > len(step.members):
                cluster = make_cluster(
                    fsid=step.fsid, mons=step.members, quorum=tuple(alive)
                )
        return node, cluster
    if isinstance(step, steps.StartMon):
        assert step.mon in node.facts.mons
        left = tuple(one for one in node.facts.stopped if one != f"mon.{step.mon}")
        return with_facts(node, stopped=left), cluster
    assert cluster is not None, f"{step} without a cluster"
    if isinstance(step, steps.MakeMgr):
        mgrs = (*cluster.mgrs, step.id)
        node = with_facts(node, mgrs=(step.id,))
        return node, dataclasses.replace(cluster, mgrs=mgrs)
    if isinstance(step, steps.MakeClient):
        return with_facts(node, has_client=True), cluster
    if isinstance(step, steps.MakeCollector):
        return with_facts(node, has_collector=True), cluster
    if isinstance(step, steps.MarkOsds):
        marked = tuple(
            dataclasses.replace(osd, inside=step.inside) if osd.id in step.osds else osd
            for osd in cluster.osds
        )
        return node, dataclasses.replace(cluster, osds=marked)
    if isinstance(step, steps.PlaceHost):
        place = (("root", "default"), *step.place)
        places = {**dict(cluster.places), step.host: place}
        return node, dataclasses.replace(cluster, places=tuple(places.items()))
    if isinstance(step, steps.HandOver):
        others = tuple(name for name in cluster.mgrs if name != step.mgr)
        return node, dataclasses.replace(cluster, mgrs=(*others, step.mgr))
    if isinstance(step, steps.RemoveMon):
        cluster = dataclasses.replace(
            cluster,
            mons=tuple(mon for mon in cluster.mons if mon.id != step.mon),
            quorum=tuple(name for name in cluster.quorum if name != step.mon),
        )
        return node, cluster
    if isinstance(step, steps.StopDaemons):
        cluster = dataclasses.replace(
            cluster,
            quorum=tuple(name for name in cluster.quorum if name not in step.mons),
            mgrs=tuple(name for name in cluster.mgrs if name not in step.mgrs),
            osds=tuple(
                dataclasses.replace(osd, up=osd.up and osd.id not in step.osds)
                for osd in cluster.osds
            ),
        )
        # The administrator's key is with the mons alone.
        has_keys = node.facts.has_keys and not step.mons
        return with_facts(node, has_keys=has_keys), cluster
    if isinstance(step, steps.DropKeys):
        nothing = {"has_keys": False, "has_client": False, "has_collector": False}
        return with_facts(node, mons=(), mgrs=(), **nothing), cluster
    if isinstance(step, steps.ForgetHost):
        left = tuple(osd for osd in cluster.osds if osd.id not in step.osds)
        return node, dataclasses.replace(cluster, osds=left)
    if isinstance(step, steps.MakeOsd):
        number = len(cluster.osds) if step.replaces is None else step.replaces
        rest = tuple(osd for osd in cluster.osds if osd.id != number)
        labels = {
            step.device: make_label(step.fsid, osd_uuid=step.osd_uuid, osd_id=number)
        }
        if step.db_device:
            labels[step.db_device] = make_label(
                "", osd_uuid=step.osd_uuid, osd_id=None, complete=False
            )
        made = Osd(number, step.osd_uuid, True, False, True, node.host, node.host)
        return _labelled(node, labels, number, step.fsid), dataclasses.replace(
            cluster, osds=(*rest, made), places=_with_place(cluster, node)
        )
    if isinstance(step, steps.MakeLvmOsds):
        labels, osds = {}, list(cluster.osds)
        for path in step.devices:
            osd_uuid = plan.osd_uuid(step.fsid, node.host, path + "lvm")
            labels[path] = make_label(step.fsid, osd_uuid=osd_uuid, osd_id=len(osds))
            osds.append(
                Osd(len(osds), osd_uuid, True, False, True, node.host, node.host)
            )
        for path in step.db_devices:
            labels[path] = make_label(
                step.fsid, osd_uuid=osds[-1].uuid, osd_id=osds[-1].id
            )
        return _labelled(node, labels, osds[-1].id, step.fsid), dataclasses.replace(
            cluster, osds=tuple(osds), places=_with_place(cluster, node)
        )
    if isinstance(step, steps.StartOsd):
        started = tuple(
            dataclasses.replace(osd, up=osd.up or osd.uuid == step.osd_uuid)
            for osd in cluster.osds
        )
        return node, dataclasses.replace(cluster, osds=started)
    if isinstance(step, steps.MakePool):
        rule = Rule("default", step.failure_domain, step.device_class)
        pool = Pool(step.pool, step.size, step.min_size, step.pg_num, ("rbd",), rule)
        return node, dataclasses.replace(cluster, pools=(pool,))
    assert isinstance(
        step,
        steps.Settle | steps.AwaitHealth | steps.AwaitDaemons | steps.AskStop,
    ), step
    return node, cluster


def _with_place(
    cluster: ClusterFacts, node: Node
) -> tuple[tuple[str, CrushPlace], ...]:
    """Return the hosts' places with that of one whose first OSD starts."""
    places = {node.host: (("root", "default"), *node.places), **dict(cluster.places)}
    return tuple(sorted(places.items()))


def _labelled(node: Node, labels: Mapping[str, Label], number: int, fsid: str) -> Node:
    def changed(devices: tuple[Device, ...]) -> tuple[Device, ...]:
        return tuple(
            dataclasses.replace(
                device, label=labels[device.stable_path], content="an OSD", busy="held"
            )
            if device.stable_path in labels
            else device
            for device in devices
        )

    return with_facts(
        node,
        disks=changed(node.facts.disks),
        db_devices=changed(node.facts.db_devices),
        osds=(*node.facts.osds, osd_dir(number, fsid)),
    )


# Programs


class UnknownCallError(AssertionError):
    """A fake was asked for something that it does not know."""


class FakeRunner:
    """Runs no program; answers those that a test named, dies on all others."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self._known: list[tuple[tuple[str, ...], str, int, Any]] = []

    def knows(
        self,
        *words: str,
        output: str = "",
        code: int = 0,
        effect: Callable[[list[str]], None] | None = None,
    ) -> None:
        """Know the command lines that begin so; what was named last comes first."""
        self._known.insert(0, (words, output, code, effect))

    def __call__(
        self, argv: Sequence[str], *, timeout: float = 60, ok: Sequence[int] = (0,)
    ) -> str:
        assert all(isinstance(word, str) for word in argv), argv
        self.calls.append(list(argv))
        for words, output, code, effect in self._known:
            if tuple(argv[: len(words)]) == words:
                if effect:
                    effect(list(argv))
                if code not in ok:
                    raise ExecError(f"{argv[0]} failed with exit code {code}")
                return output
        raise UnknownCallError(f"no test said what {argv} does")

    def programs(self) -> list[str]:
        """Return the names of the programs that ran, in order."""
        return [argv[0] for argv in self.calls]


# Time


class FakeClock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._events: list[tuple[float, Callable[[], None]]] = []

    def monotonic(self) -> float:
        return self.now

    time = monotonic

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        due = [event for event in self._events if event[0] <= self.now]
        for event in due:
            self._events.remove(event)
            event[1]()

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Let something happen once so much time has passed."""
        self._events.append((self.now + seconds, event))


# Ceph


@dataclasses.dataclass
class FakeOsd:
    id: int
    uuid: str
    up: bool = False
    new: bool = True
    device_class: str | None = None
    #: It has a place in the CRUSH map, which comes some time before it is up.
    placed: bool = False
    inside: bool = True
    host: str | None = None
    destroyed: bool = False
    #: Its host in the CRUSH map, where that is not the one that it runs on.
    bucket: str | None = None

    @property
    def place(self) -> str | None:
        return self.bucket or self.host


@dataclasses.dataclass
class FakePool:
    name: str
    pg_num: int
    rule: str
    #: What Ceph gives a new pool.
    size: int = 3
    min_size: int = 2
    applications: set[str] = dataclasses.field(default_factory=set)
    coded: bool = False


class Refused(Exception):
    """A command's negative answer."""

    def __init__(self, number: int, status: str) -> None:
        self.number = number
        self.status = status


class FakeCeph:
    """A storage cluster that keeps state; commands that Ceph lacks end the test."""

    def __init__(self, mons: Sequence[str] = ("node1", "node2", "node3")) -> None:
        self.fsid = FSID
        self.mons = {name: f"192.0.2.{i}" for i, name in enumerate(mons, 1)}
        self.quorum = list(mons)
        self.mgrs: list[str] = []
        self.osds: dict[int, FakeOsd] = {}
        self.pools: dict[str, FakePool] = {}
        self.rules = {"replicated_rule": ("host", None)}
        self.settings: dict[str, str] = {}
        self.keys: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.modules_off: set[str] = set()
        self.checks: dict[str, dict[str, Any]] = {}
        #: Daemons ("mon.node1") that are of another version than the others.
        self.versions: dict[str, str] = {}
        #: Pools that whoever connects may not use.
        self.forbidden: set[str] = set()
        #: By name, in pools ("vms") and in namespaces of theirs ("vms/blue").
        self.images: dict[str, dict[str, FakeImage]] = {}
        #: What users of the application rbd keep with pools.
        self.kept: dict[str, dict[str, str]] = {}
        #: The same for the trash, by the images' ids.
        self.trash: dict[str, dict[str, FakeTrashed]] = {}
        #: Seconds of the epoch.
        self.now = 1_700_000_000
        #: What librbd's functions fail with, by name.
        self.failures: dict[str, Exception] = {}
        self.unclean = 0
        #: Placement groups that were told to repair themselves.
        self.repairing: list[str] = []
        #: The OSDs without which data would be out of reach, or lost.
        self.needed: set[int] = set()
        #: Those of which nobody knows what they hold.
        self.unknown: set[int] = set()
        #: When the map of the OSDs changed last.
        self.modified = "2026-01-02T03:04:05.678901+0000"
        #: Hosts in the CRUSH map without an OSD.
        self.hosts: set[str] = set()
        self.reachable = True
        #: (prefix, arguments) of all commands, and how often somebody connected.
        self.commands: list[tuple[str, dict[str, Any]]] = []
        self.connections = 0
        #: (configuration file, user) of the clients.
        self.clients: list[tuple[str | None, str | None]] = []
        #: What they set of Ceph's options.
        self.bounds: list[dict[str, str]] = []
        #: What librados knows of Ceph's options, those without a value left out.
        self.options = {"rbd_default_pool": "rbd"}
        #: Answers that take the place of a command's own, for example recorded ones.
        self.answers: dict[str, Any] = {}

    # What a test says happens

    def osd(self, osd_uuid: str, **changes: Any) -> FakeOsd:
        """Add an OSD."""
        number = len(self.osds)
        self.osds[number] = FakeOsd(number, osd_uuid, **changes)
        return self.osds[number]

    # What stands for librados

    def rados(
        self,
        conffile: str | None = None,
        name: str | None = None,
        conf: Mapping[str, str] | None = None,
    ) -> "FakeRados":
        """Take the place of ``rados.Rados``."""
        self.clients.append((conffile, name))
        self.bounds.append(dict(conf or {}))
        return FakeRados(self)

    def mon_command(self, request: str, data: bytes) -> tuple[int, bytes, str]:
        arguments = json.loads(request)
        prefix = arguments.pop("prefix")
        arguments.pop("format", None)
        self.commands.append((prefix, arguments))
        if prefix in self.answers:
            return 0, json.dumps(self.answers[prefix]).encode(), ""
        name = "_" + prefix.replace(" ", "_").replace("-", "_")
        command = getattr(self, name, None)
        if command is None:
            raise UnknownCallError(f"Ceph has no command {prefix!r}")
        if data:
            arguments["data"] = data
        if "class" in arguments:
            arguments["class_"] = arguments.pop("class")
        try:
            answer = command(**arguments)
        except Refused as err:
            return -err.number, b"", err.status
        if isinstance(answer, bytes):
            return 0, answer, ""
        return 0, b"" if answer is None else json.dumps(answer).encode(), ""

    # Ceph's commands

    def _mon_dump(self) -> Any:
        return {
            "fsid": self.fsid,
            "mons": [
                {
                    "name": name,
                    "public_addrs": {
                        "addrvec": [{"type": "v2", "addr": f"{address}:3300"}]
                    },
                }
                for name, address in self.mons.items()
            ],
        }

    def _mon_getmap(self) -> bytes:
        return b"\x09monmap"

    def _quorum_status(self) -> Any:
        mons = [{"name": name} for name in self.mons]
        return {"quorum_names": list(self.quorum), "monmap": {"mons": mons}}

    def _mgr_dump(self) -> Any:
        active, *standbys = self.mgrs or [""]
        return {
            "active_name": active,
            "standbys": [{"name": name} for name in standbys],
        }

    def _osd_dump(self) -> Any:
        return {
            "fsid": self.fsid,
            "osds": [
                {
                    "osd": osd.id,
                    "uuid": osd.uuid,
                    "up": int(osd.up),
                    "in": int(osd.inside),
                    "state": ["exists"]
                    + (["new"] if osd.new else [])
                    + (["up"] if osd.up else []),
                }
                for osd in self.osds.values()
            ],
            "modified": self.modified,
            "backfillfull_ratio": 0.9,
            "pools": [
                {
                    "pool_name": pool.name,
                    "size": pool.size,
                    "min_size": pool.min_size,
                    "pg_num": pool.pg_num,
                    "application_metadata": {name: {} for name in pool.applications},
                    "crush_rule": 0,
                    "type": 3 if pool.coded else 1,
                }
                for pool in self.pools.values()
            ],
        }

    def _versions(self) -> Any:
        running = [f"mon.{name}" for name in self.quorum]
        running += [f"mgr.{name}" for name in self.mgrs]
        running += [f"osd.{one.id}" for one in self.osds.values() if one.up]
        return {"overall": Counter(map(self._version, running))}

    def _version(self, daemon: str) -> str:
        return f"ceph version {self.versions.get(daemon, '18.2.7')} (6b0e988) (stable)"

    def _metadata(self, kind: str, names: Mapping[str, str | None]) -> Any:
        return [
            {
                "name": name,
                "hostname": f"{host}.example.org",
                "ceph_version": self._version(f"{kind}.{name}"),
            }
            for name, host in names.items()
        ]

    def _mon_metadata(self) -> Any:
        return self._metadata("mon", {name: name for name in self.mons})

    def _mgr_metadata(self) -> Any:
        return self._metadata("mgr", {name: name for name in self.mgrs})

    def _osd_metadata(self) -> Any:
        ran = {str(one.id): one.host for one in self.osds.values() if not one.new}
        return [
            {"id": int(one.pop("name")), **one} for one in self._metadata("osd", ran)
        ]

    def _osd_stat(self) -> Any:
        up = sum(osd.up for osd in self.osds.values())
        return {"num_osds": len(self.osds), "num_up_osds": up}

    def _osd_tree(self) -> Any:
        placed = [osd for osd in self.osds.values() if osd.up or osd.placed or osd.host]
        hosts = self.hosts | {one.place for one in placed if one.place}
        return {
            "nodes": [
                {"id": -1, "name": "default", "type": "root"},
                *(
                    {
                        "id": -2 - index,
                        "name": host,
                        "type": "host",
                        "children": [one.id for one in placed if one.place == host],
                    }
                    for index, host in enumerate(sorted(hosts))
                ),
                *(
                    {
                        "id": one.id,
                        "name": f"osd.{one.id}",
                        "type": "osd",
                        "status": "up" if one.up else "down",
                    }
                    for one in placed
                ),
            ],
            "stray": [],
        }

    def _osd_crush_rule_dump(self) -> Any:
        return [
            {
                "rule_id": 0,
                "rule_name": "replicated_rule",
                "steps": [
                    {"op": "take", "item": -1, "item_name": "default"},
                    {"op": "chooseleaf_firstn", "num": 0, "type": "host"},
                    {"op": "emit"},
                ],
            }
        ]

    def _node_ls(self, type: str) -> Any:
        assert type == "osd", type
        ran = [osd for osd in self.osds.values() if osd.host and not osd.new]
        # They are called by their kernels' names.
        return {
            f"{host}.example.org": [osd.id for osd in ran if osd.host == host]
            for host in {osd.host for osd in ran}
        }

    def _health(self, detail: str = "") -> Any:
        assert detail in ("", "detail"), detail
        shown = [check for check in self.checks.values() if not check.get("muted")]
        return {
            "status": "HEALTH_WARN" if shown else "HEALTH_OK",
            "checks": self.checks,
            "mutes": [],
        }

    def _status(self) -> Any:
        total = sum(pool.pg_num for pool in self.pools.values())
        states = [("active+clean", total - self.unclean), ("peering", self.unclean)]
        return {
            "fsid": self.fsid,
            "health": self._health(),
            "quorum_names": list(self.quorum),
            "osdmap": self._osd_stat(),
            "mgrmap": {"available": bool(self.mgrs)},
            "pgmap": {
                "num_pgs": total,
                "pgs_by_state": [
                    {"state_name": name, "count": count}
                    for name, count in states
                    if count
                ],
            },
        }

    def _mgr_module_disable(self, module: str) -> None:
        self.modules_off.add(module)

    def _config_set(self, who: str, name: str, value: str) -> None:
        assert who == "global"
        self.settings[name] = value

    def _osd_pool_create(
        self,
        pool: str,
        pg_num: int,
        pgp_num: int,
        pool_type: str,
        rule: str,
        autoscale_mode: str,
        size: int = 3,
    ) -> None:
        assert (pool_type, pgp_num, autoscale_mode) == ("replicated", pg_num, "off")
        if rule not in self.rules:
            raise Refused(2, f"specified rule {rule} doesn't exist")
        if size == 1:
            raise Refused(1, "configuring pool size as 1 is disabled by default.")
        made = FakePool(pool, pg_num, rule, size, size - size // 2)
        self.pools.setdefault(pool, made)

    def _osd_pool_set(
        self, pool: str, var: str, val: str, yes_i_really_mean_it: bool = False
    ) -> None:
        found = self.pools[pool]
        number = int(val)
        if var == "size":
            allowed = self.settings.get("mon_allow_pool_size_one") == "true"
            if number == 1 and not (allowed and yes_i_really_mean_it):
                raise Refused(1, "configuring pool size as 1 is disabled by default.")
            found.size = number
            found.min_size = number - number // 2
        elif var == "min_size":
            if not 1 <= number <= found.size:
                raise Refused(22, f"pool min_size must be between 1 and {found.size}")
            found.min_size = number
        else:
            raise UnknownCallError(f"no test knows the pool's {var}")

    def _osd_pool_application_enable(self, pool: str, app: str) -> None:
        self.pools[pool].applications.add(app)

    def _osd_pool_application_get(self, pool: str) -> Any:
        if pool not in self.images:
            raise Refused(2, f"unrecognized pool '{pool}'")
        return {"rbd": self.kept.get(pool, {})}

    def _osd_pool_application_set(
        self, pool: str, app: str, key: str, value: str
    ) -> None:
        assert pool in self.images
        assert app == "rbd"
        self.kept.setdefault(pool, {})[key] = value

    def _osd_pool_application_rm(self, pool: str, app: str, key: str) -> None:
        assert app == "rbd"
        del self.kept[pool][key]

    def _osd_crush_rule_create_replicated(
        self, name: str, root: str, type: str, class_: str | None = None
    ) -> None:
        assert root == "default"
        classes = {osd.device_class for osd in self.osds.values()}
        if class_ and class_ not in classes:
            raise Refused(22, f"device class {class_} does not exist")
        self.rules.setdefault(name, (type, class_))

    def _osd_crush_set_device_class(self, class_: str, ids: list[str]) -> None:
        for name in ids:
            self.osds[int(name.removeprefix("osd."))].device_class = class_

    def _auth_get(self, entity: str) -> Any:
        if entity not in self.keys:
            raise Refused(2, f"failed to find {entity} in keyring")
        key, caps = self.keys[entity]
        return [{"entity": entity, "key": key, "caps": _by_daemon(caps)}]

    def _auth_get_or_create(self, entity: str, caps: list[str]) -> Any:
        wanted = _by_daemon(caps)
        key, had = self.keys.setdefault(entity, (f"key-of-{entity}==", tuple(caps)))
        for daemon, cap in wanted.items():
            if _by_daemon(had).get(daemon) != cap:
                raise Refused(
                    22, f"key for {entity} exists but cap {daemon} does not match"
                )
        return [{"entity": entity, "key": key}]

    def _auth_caps(self, entity: str, caps: list[str]) -> None:
        _by_daemon(caps)
        if entity not in self.keys:
            raise Refused(2, f"couldn't find entry {entity}")
        # Those that are not named are gone.
        self.keys[entity] = (self.keys[entity][0], tuple(caps))

    def _pg_repair(self, pgid: str) -> None:
        self.repairing.append(pgid)

    def _crash_archive_all(self) -> None:
        self.checks.pop("RECENT_CRASH", None)

    def _osd_ok_to_stop(self, ids: list[str]) -> None:
        needed = sorted(self.needed.intersection(map(int, ids)))
        if needed:
            raise Refused(16, f"OSD(s) {needed} are needed")

    def _osd_safe_to_destroy(self, ids: list[str]) -> Any:
        # As Ceph 18 and 16 answer when asked for JSON: it never fails.
        asked = {int(one) for one in ids}
        return {
            "safe_to_destroy": sorted(asked - self.needed - self.unknown),
            "active": sorted(asked & self.needed),
            "missing_stats": sorted(asked & self.unknown),
            "stored_pgs": [],
        }

    def _osd_in(self, ids: list[str]) -> None:
        for one in ids:
            self.osds[int(one)].inside = True

    def _osd_out(self, ids: list[str]) -> None:
        for one in ids:
            self.osds[int(one)].inside = False

    def _osd_destroy_actual(self, id: int, yes_i_really_mean_it: bool = False) -> None:
        self._sure(id, yes_i_really_mean_it)
        self.osds[id].destroyed = True
        self.osds[id].uuid = "00000000-0000-0000-0000-000000000000"

    def _osd_purge_actual(self, id: int, yes_i_really_mean_it: bool = False) -> None:
        self._sure(id, yes_i_really_mean_it)
        del self.osds[id]

    def _sure(self, osd_id: int, sure: bool) -> None:
        if not sure:
            raise Refused(1, "Are you SURE?")
        if self.osds[osd_id].up:
            raise Refused(16, f"osd.{osd_id} is not `down`.")

    def _osd_crush_remove(self, name: str) -> None:
        if any(osd.host == name for osd in self.osds.values()):
            raise Refused(39, f"(39) Directory not empty: {name}")
        self.hosts.discard(name)

    def _auth_rm(self, entity: str) -> None:
        self.keys.pop(entity, None)

    def _mgr_fail(self, who: str) -> None:
        if self.mgrs[:1] == [who]:
            self.mgrs = self.mgrs[1:]

    def _mon_remove(self, name: str) -> None:
        del self.mons[name]
        self.quorum = [one for one in self.quorum if one != name]

    def _osd_purge_new(self, id: int, yes_i_really_mean_it: bool = False) -> None:
        if not yes_i_really_mean_it:
            raise Refused(1, "Are you SURE?")
        if not self.osds[id].new:
            raise Refused(1, "osd is not new")
        del self.osds[id]

    def _osd_new(self, uuid: str, data: bytes, id: int | None = None) -> Any:
        if any(osd.uuid == uuid for osd in self.osds.values()):
            raise Refused(17, "entity exists but key does not match")
        if id is not None and not self.osds[id].destroyed:
            raise Refused(22, f"osd.{id} has not been destroyed")
        number = id
        if number is None:
            number = next(one for one in range(100) if one not in self.osds)
        host = self.osds[number].host if number in self.osds else None
        self.osds[number] = FakeOsd(number, uuid, host=host)
        self.keys[f"osd.{number}"] = (json.loads(data)["cephx_secret"], ())
        return {"osdid": number}


def _by_daemon(caps: Sequence[str]) -> dict[str, str]:
    """Return capabilities by kind of daemon, as the mons take them apart."""
    assert len(caps) % 2 == 0, f"a capability of nobody: {caps}"
    assert set(caps[::2]) <= {"mon", "mgr", "osd", "mds"}, caps
    return dict(zip(caps[::2], caps[1::2], strict=True))


class FakeRados:
    """One connection to a :class:`FakeCeph`."""

    def __init__(self, cluster: FakeCeph) -> None:
        self.cluster = cluster
        self.connected = False
        #: What was set with :meth:`conf_set`.
        self.options: dict[str, str] = {}

    def connect(self) -> None:
        if not self.cluster.reachable:
            raise rados.TimedOut("error connecting to the cluster", 110)
        self.cluster.connections += 1
        self.connected = True

    def conf_get(self, option: str) -> str:
        return self.cluster.options.get(option, "")

    def conf_set(self, option: str, val: str) -> None:
        assert isinstance(option, str)
        assert isinstance(val, str)
        self.options[option] = val

    def mon_command(
        self, cmd: str, inbuf: bytes, *_: Any, **__: Any
    ) -> tuple[int, bytes, str]:
        assert self.connected, "a command over no connection"
        return self.cluster.mon_command(cmd, inbuf)

    def mgr_command(self, cmd: str, inbuf: bytes) -> tuple[int, bytes, str]:
        assert self.cluster.mgrs, "a command for no manager"
        return self.mon_command(cmd, inbuf)

    def open_ioctx(self, ioctx_name: str) -> "FakePoolHandle":
        self._check_pool_name(ioctx_name)
        if ioctx_name not in self.cluster.images:
            raise rados.ObjectNotFound(f"error opening pool {ioctx_name!r}", 2)
        return FakePoolHandle(self, ioctx_name)

    def list_pools(self) -> list[str]:
        assert self.connected, "pools over no connection"
        return [name for name in self.cluster.images if "/" not in name]

    def pool_reverse_lookup(self, pool_id: int) -> str | None:
        assert isinstance(pool_id, int), pool_id
        pools = self.list_pools()
        return pools[pool_id - 1] if 0 < pool_id <= len(pools) else None

    def pool_exists(self, pool_name: str) -> bool:
        self._check_pool_name(pool_name)
        return pool_name in self.cluster.images

    def shutdown(self) -> None:
        self.connected = False

    def _check_pool_name(self, name: str) -> None:
        assert self.connected, "a pool over no connection"
        assert isinstance(name, str), name
        assert name, "a pool without a name"
        assert "/" not in name, f"{name} is no pool"


# Images


@dataclasses.dataclass
class FakeSnapshot:
    """A snapshot; one of another namespace than users' cannot be named by them."""

    name: str
    namespace: int = rbd.RBD_SNAP_NAMESPACE_TYPE_USER
    #: (pool, namespace, image, whether in the trash)
    clones: list[tuple[str, str, str, bool]] = dataclasses.field(default_factory=list)
    content: bytes = b""


class FakeImage:
    """An image that keeps its content."""

    _given = itertools.count(1)

    def __init__(self, size: int = 0, content: bytes = b"") -> None:
        #: Ceph's own name for it, which stays when it is renamed or in the trash.
        self.id = f"{next(self._given):04x}"
        self.data = bytearray(content.ljust(size, b"\0"))
        self.order = 22
        #: What Ceph gives a new image, all but striping, a data pool and a journal.
        self.features = 61
        #: Whether its object map can be relied on.
        self.flags = 0
        self.stripes = (0, 0)
        self.data_pool: str | None = None
        self.metadata: dict[str, str] = {}
        #: The names of metadata that were set, in order.
        self.described: list[str] = []
        #: Addresses of those who have it open to write.
        self.watchers: list[str] = []
        self.snapshots: list[FakeSnapshot] = []
        #: What it had from its origin when it was cloned.
        self.shared = b""
        #: Numbers of objects that were written once and hold nothing now.
        self.holes: set[int] = set()
        #: (offset, length) of what was written, and of what was zeroed.
        self.written: list[tuple[int, int]] = []
        self.zeroed: list[tuple[int, int]] = []
        #: Whether the last of that is safe from a power failure.
        self.flushed = True
        #: What opening it fails with.
        self.broken: Exception | None = None


@dataclasses.dataclass
class FakeTrashed:
    """An image in the trash; moments are seconds of the epoch."""

    name: str
    #: None where its removal was begun and did not end.
    image: FakeImage | None
    removed: int
    until: int
    source: str = "USER"


class FakePoolHandle:
    """An open pool, or a namespace of it."""

    def __init__(self, connection: FakeRados, name: str) -> None:
        self._connection = connection
        self._name = name
        self._open = True

    def __enter__(self) -> "FakePoolHandle":
        return self

    def __exit__(self, *_: Any) -> None:
        self._open = False

    def set_namespace(self, nspace: str) -> None:
        assert isinstance(nspace, str), nspace
        self._check()
        pool = self._name.partition("/")[0]
        self._name = f"{pool}/{nspace}" if nspace else pool

    def _check(self) -> None:
        assert self._open, "a pool that is closed"
        assert self._connection.connected, "a pool over no connection"


class FakeRbd:
    """Takes the place of ``rbd.RBD``."""

    def create(
        self,
        ioctx: FakePoolHandle,
        name: str,
        size: int,
        order: int | None = None,
        old_format: bool = False,
        features: int | None = None,
        stripe_unit: int | None = None,
        stripe_count: int | None = None,
        data_pool: str | None = None,
    ) -> None:
        images = _images(ioctx, "create")
        assert not old_format
        assert isinstance(size, int), size
        if name in images:
            raise rbd.ImageExists(f"error creating {name!r}", 17)
        image = FakeImage(size)
        if order:
            if not 12 <= order <= 25:
                raise rbd.ArgumentOutOfRange("order must be in range [12, 25]", 33)
            image.order = order
        if features is not None:
            image.features = features
        for one, needed in (
            (rbd.RBD_FEATURE_OBJECT_MAP, rbd.RBD_FEATURE_EXCLUSIVE_LOCK),
            (rbd.RBD_FEATURE_FAST_DIFF, rbd.RBD_FEATURE_OBJECT_MAP),
            (rbd.RBD_FEATURE_JOURNALING, rbd.RBD_FEATURE_EXCLUSIVE_LOCK),
        ):
            if image.features & one and not image.features & needed:
                raise rbd.InvalidArgument("a feature needs another one", 22)
        if stripe_unit or stripe_count:
            if not (stripe_unit and stripe_count) or 2**image.order % stripe_unit:
                raise rbd.InvalidArgument("invalid striping", 22)
            image.stripes = (stripe_unit, stripe_count)
            if image.stripes != (2**image.order, 1):
                image.features |= rbd.RBD_FEATURE_STRIPINGV2
        if data_pool is not None:
            if data_pool not in ioctx._connection.cluster.images:
                raise rbd.ImageNotFound(f"error opening data pool {data_pool}", 2)
            image.data_pool = data_pool
            image.features |= rbd.RBD_FEATURE_DATA_POOL
        images[name] = image

    def rename(self, ioctx: FakePoolHandle, src: str, dest: str) -> None:
        images = _images(ioctx, "rename")
        if src not in images:
            raise rbd.ImageNotFound("error renaming image", 2)
        if dest in images:
            raise rbd.ImageExists("error renaming image", 17)
        images[dest] = images.pop(src)

    def remove(self, ioctx: FakePoolHandle, name: str, on_progress: Any = None) -> None:
        images = _images(ioctx, "remove")
        if name not in images:
            raise rbd.ImageNotFound(f"error removing {name!r}", 2)
        if images[name].snapshots:
            raise rbd.ImageHasSnapshots(f"error removing {name!r}", 39)
        if images[name].watchers:
            raise rbd.ImageBusy(f"error removing {name!r}", 16)
        _forget_clone(ioctx, name)
        del images[name]

    def clone(
        self,
        p_ioctx: FakePoolHandle,
        p_name: str,
        p_snapname: str,
        c_ioctx: FakePoolHandle,
        c_name: str,
        features: int | None = None,
    ) -> None:
        images = _images(c_ioctx, "clone")
        parent = _images(p_ioctx, "clone")[p_name]
        (snapshot,) = [one for one in parent.snapshots if one.name == p_snapname]
        options = p_ioctx._connection.options
        assert options["rbd_default_clone_format"] == "2", "a snapshot to protect"
        assert features is not None
        assert features & rbd.RBD_FEATURE_LAYERING
        if c_name in images:
            raise rbd.ImageExists("error creating clone", 17)
        child = FakeImage(content=snapshot.content)
        child.shared = snapshot.content
        child.features = features
        child.metadata = dict(parent.metadata)
        images[c_name] = child
        pool, _, namespace = c_ioctx._name.partition("/")
        snapshot.clones.append((pool, namespace, c_name, False))

    def trash_move(self, ioctx: FakePoolHandle, name: str, delay: int = 0) -> None:
        images = _images(ioctx, "trash_move")
        assert isinstance(delay, int), delay
        if name not in images:
            raise rbd.ImageNotFound("error moving image to trash", 2)
        # It takes the lock from whoever has it, and moves snapshots, too.
        if images[name].watchers:
            raise rbd.ImageBusy("error moving image to trash", 16)
        image = images.pop(name)
        now = ioctx._connection.cluster.now
        _trash(ioctx)[image.id] = FakeTrashed(name, image, now, now + delay)

    def trash_list(self, ioctx: FakePoolHandle) -> Iterator[dict[str, Any]]:
        _images(ioctx, "trash_list")
        for image_id, one in sorted(_trash(ioctx).items()):
            yield {
                "id": image_id,
                "name": one.name,
                "source": one.source,
                "deletion_time": _naive(one.removed),
                "deferment_end_time": _naive(one.until),
            }

    def trash_restore(self, ioctx: FakePoolHandle, image_id: str, name: str) -> None:
        images = _images(ioctx, "trash_restore")
        assert isinstance(name, str), name
        found = _trashed(ioctx, image_id, "error restoring image from trash")
        if found.source not in ("USER", "MIRRORING"):
            raise rbd.InvalidArgument("error restoring image from trash", 22)
        name = name or found.name
        if name in images:
            raise rbd.ImageExists("error restoring image from trash", 17)
        assert found.image is not None, "no test knows what becomes of half an image"
        images[name] = found.image
        del _trash(ioctx)[image_id]

    def trash_remove(
        self,
        ioctx: FakePoolHandle,
        image_id: str,
        force: bool = False,
        on_progress: Any = None,
    ) -> None:
        _images(ioctx, "trash_remove")
        assert isinstance(force, bool), force
        said = "error deleting image from trash"
        found = _trashed(ioctx, image_id, said)
        if ioctx._connection.cluster.now < found.until and not force:
            raise rbd.PermissionError(said, 1)
        if found.image and found.image.snapshots:
            raise rbd.ImageHasSnapshots(said, 39)
        if found.image and found.image.watchers:
            raise rbd.ImageBusy(said, 16)
        del _trash(ioctx)[image_id]

    def list(self, ioctx: FakePoolHandle) -> list[str]:
        return sorted(_images(ioctx, "list"))

    def list2(self, ioctx: FakePoolHandle) -> Iterator[dict[str, Any]]:
        for name, image in sorted(_images(ioctx, "list").items()):
            yield {"id": image.id, "name": name}

    def namespace_list(self, ioctx: FakePoolHandle) -> Iterator[str]:
        _images(ioctx, "namespace_list")
        cluster = ioctx._connection.cluster
        if ioctx._name in cluster.forbidden:
            raise rbd.PermissionError("error listing namespaces", 1)
        for name in sorted(cluster.images):
            pool, _, namespace = name.partition("/")
            if pool == ioctx._name and namespace:
                yield namespace

    def namespace_exists(self, ioctx: FakePoolHandle, name: str) -> bool:
        ioctx._check()
        pool = ioctx._name.partition("/")[0]
        return f"{pool}/{name}" in ioctx._connection.cluster.images


class FakeOpenImage:
    """Takes the place of ``rbd.Image``."""

    #: The address of the host that tests run on.
    HERE = "192.0.2.250:0/250"

    def __init__(
        self,
        ioctx: FakePoolHandle,
        name: str | None = None,
        snapshot: str | None = None,
        read_only: bool = False,
        image_id: str | None = None,
    ) -> None:
        images = _images(ioctx, "open")
        assert snapshot is None, "no test knows how a snapshot is opened"
        if (name is None) == (image_id is None):
            raise rbd.InvalidArgument("only one of name and id can be specified", 22)
        image: FakeImage | None
        if image_id is not None:
            # Those in the trash have no other name.
            trashed = [one.image for one in _trash(ioctx).values() if one.image]
            by_id = {one.id: one for one in [*images.values(), *trashed]}
            image = by_id.get(image_id)
        else:
            image = images.get(str(name))
        if image is None:
            raise rbd.ImageNotFound(f"error opening image {name or image_id!r}", 2)
        if image.broken:
            raise image.broken
        self._ioctx = ioctx
        self._open_image: FakeImage | None = image
        self._read_only = read_only
        if not read_only:
            image.watchers.append(self.HERE)

    def __enter__(self) -> "FakeOpenImage":
        return self

    def __exit__(self, *_: Any) -> None:
        if not self._read_only:
            self._image("close").watchers.remove(self.HERE)
        self._open_image = None

    def size(self) -> int:
        return len(self._image("size").data)

    def features(self) -> int:
        return self._image("features").features

    def flags(self) -> int:
        return self._image("flags").flags

    def data_pool_id(self) -> int:
        image = self._image("data_pool_id")
        assert image.data_pool is not None, "no test knows the id of an own pool"
        pools = self._ioctx._connection.list_pools()
        # -1 for one that is gone.
        return pools.index(image.data_pool) + 1 if image.data_pool in pools else -1

    def watchers_list(self) -> Iterator[dict[str, Any]]:
        for index, one in enumerate(self._image("watchers_list").watchers):
            yield {"addr": one, "id": index, "cookie": 2**40 + index}

    def list_snaps(self) -> Iterator[dict[str, Any]]:
        image = self._image("list_snaps")
        for index, one in enumerate(image.snapshots, 4):
            yield {
                "id": index,
                "size": len(image.data),
                "name": one.name,
                "namespace": one.namespace,
            }

    def create_snap(self, name: str) -> None:
        image = self._writable("create_snap")
        if any(one.name == name for one in image.snapshots):
            raise rbd.ImageExists("error creating snapshot", 17)
        image.snapshots.append(FakeSnapshot(name, content=bytes(image.data)))

    def remove_snap(self, name: str) -> None:
        image = self._writable("remove_snap")
        found = [one for one in image.snapshots if one.name == name]
        if not found:
            raise rbd.ImageNotFound("error removing snapshot", 2)
        (snapshot,) = found
        if snapshot.clones:
            snapshot.namespace = rbd.RBD_SNAP_NAMESPACE_TYPE_TRASH
        else:
            image.snapshots.remove(snapshot)

    def list_children2(self) -> Iterator[dict[str, Any]]:
        for snapshot in self._image("list_children2").snapshots:
            for pool, namespace, name, trash in snapshot.clones:
                yield {
                    "pool": pool,
                    "pool_namespace": namespace,
                    "image": name,
                    "id": f"id-of-{name}",
                    "trash": trash,
                }

    def deep_copy(
        self,
        dest_ioctx: FakePoolHandle,
        dest_name: str,
        features: int | None = None,
        order: int | None = None,
        stripe_unit: int | None = None,
        stripe_count: int | None = None,
        data_pool: str | None = None,
    ) -> None:
        source = self._image("deep_copy")
        assert features is not None, "no test knows what Ceph would choose"
        if features & rbd.RBD_FEATURE_OPERATIONS:
            raise rbd.InvalidArgument("cannot use internally controlled features", 22)
        size = len(source.data)
        FakeRbd().create(
            dest_ioctx, dest_name, size, features=features, data_pool=data_pool
        )
        made = _images(dest_ioctx, "deep_copy")[dest_name]
        made.data[:] = source.data
        made.snapshots = [dataclasses.replace(one) for one in source.snapshots]
        made.metadata = dict(source.metadata)

    def metadata_list(self) -> Iterator[tuple[str, str]]:
        metadata = self._image("metadata_list").metadata
        # As the real one: after an empty value the others are of the wrong keys.
        values = [value for value in metadata.values() if value]
        return iter(list(zip(metadata, values, strict=False)))

    def metadata_set(self, key: str, value: str) -> None:
        image = self._writable("metadata_set")
        assert isinstance(key, str), key
        assert isinstance(value, str), value
        assert key, "metadata without a name"
        image.metadata[key] = value
        image.described.append(key)

    def diff_iterate(
        self,
        offset: int,
        length: int,
        from_snapshot: str | None,
        iterate_cb: Callable[[int, int, bool], None],
        include_parent: bool = True,
        whole_object: bool = False,
    ) -> None:
        image = self._image("diff_iterate")
        assert whole_object, "no test knows smaller parts than objects"
        assert from_snapshot is None
        assert offset + length <= len(image.data)
        step = 2**image.order
        for number in range(-(-len(image.data) // step)):
            start = max(offset, number * step)
            end = min(offset + length, (number + 1) * step)
            content = image.data[number * step : (number + 1) * step]
            exists = any(content)
            if not include_parent:
                exists &= content != image.shared[number * step : (number + 1) * step]
            if start < end and (exists or number in image.holes):
                iterate_cb(start, end - start, exists)

    def read(self, offset: int, length: int, fadvise_flags: int = 0) -> bytes:
        data = self._image("read").data
        if offset + length > len(data):
            raise rbd.InvalidArgument("error reading", 22)
        return bytes(data[offset : offset + length])

    def resize(self, size: int, allow_shrink: bool = True) -> None:
        image = self._writable("resize")
        del image.data[size:]
        image.data.extend(bytes(size - len(image.data)))

    def write(self, data: bytes, offset: int, fadvise_flags: int = 0) -> int:
        if not isinstance(data, bytes):
            raise TypeError("data must be a byte string")
        self._put("write", data, offset).written.append((offset, len(data)))
        return len(data)

    def write_zeroes(self, offset: int, length: int, zero_flags: int = 0) -> None:
        image = self._put("write_zeroes", bytes(length), offset)
        image.zeroed.append((offset, length))

    def flush(self) -> None:
        self._writable("flush").flushed = True

    def _put(self, function: str, data: bytes, offset: int) -> FakeImage:
        image = self._writable(function)
        if offset + len(data) > len(image.data):
            raise rbd.InvalidArgument("error writing", 22)
        image.data[offset : offset + len(data)] = data
        image.flushed = False
        return image

    def _writable(self, function: str) -> FakeImage:
        image = self._image(function)
        if self._read_only:
            raise rbd.ReadOnlyImage("error writing", 30)
        return image

    def _image(self, function: str) -> FakeImage:
        if self._open_image is None:
            raise rbd.InvalidArgument("image is closed")
        if function != "close":
            _images(self._ioctx, function)
        return self._open_image


def _images(ioctx: FakePoolHandle, function: str) -> dict[str, FakeImage]:
    """Return the images of a pool that librbd's function finds open."""
    assert isinstance(ioctx, FakePoolHandle), ioctx
    ioctx._check()
    cluster = ioctx._connection.cluster
    if function in cluster.failures:
        raise cluster.failures[function]
    return cluster.images.get(ioctx._name, {})


def _forget_clone(ioctx: FakePoolHandle, name: str) -> None:
    """Have no snapshot know a clone, and those go that are there for it only."""
    pool, _, namespace = ioctx._name.partition("/")
    for images in ioctx._connection.cluster.images.values():
        for image in images.values():
            for snapshot in list(image.snapshots):
                if (pool, namespace, name, False) not in snapshot.clones:
                    continue
                snapshot.clones.remove((pool, namespace, name, False))
                trashed = snapshot.namespace == rbd.RBD_SNAP_NAMESPACE_TYPE_TRASH
                if trashed and not snapshot.clones:
                    image.snapshots.remove(snapshot)


def _trash(ioctx: FakePoolHandle) -> dict[str, FakeTrashed]:
    return ioctx._connection.cluster.trash.setdefault(ioctx._name, {})


def _trashed(ioctx: FakePoolHandle, image_id: str, said: str) -> FakeTrashed:
    assert isinstance(image_id, str), image_id
    if image_id not in _trash(ioctx):
        raise rbd.ImageNotFound(said, 2)
    return _trash(ioctx)[image_id]


def _naive(moment: int) -> datetime.datetime:
    """Return a moment as the binding gives it: in UTC, which it does not say."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).replace(tzinfo=None)


class FakeMappers:
    """What maps images on this node; the devices are some that every node has."""

    def __init__(self) -> None:
        self.devices: dict[Volume, str] = {}
        #: (volume, mapper, features) that were to be mapped.
        self.asked: list[tuple[Volume, str, tuple[str, ...]]] = []
        #: (volume, bytes) of devices that were told their image's size.
        self.sizes: list[tuple[Volume, int]] = []
        #: Why nothing works.
        self.failing = ""
        self._free = ["/dev/null", "/dev/zero", "/dev/full"]

    def replace(self, module: Any, set_attribute: Callable[..., None]) -> None:
        """Take the place of the functions of a module, called as those are."""
        for name in ("find", "mapped", "map", "unmap", "resized"):
            real, ours = getattr(module, name), getattr(self, name)
            set_attribute(module, name, create_autospec(real, side_effect=ours))

    def find(self, volume: Volume) -> str | None:
        self._act()
        return self.devices.get(volume)

    def mapped(self) -> dict[str, str]:
        self._act()
        return {str(volume): device for volume, device in self.devices.items()}

    def map(self, volume: Volume, mapper: Mapper, features: Sequence[str]) -> str:
        self._act()
        self.asked.append((volume, Mapper(mapper), tuple(features)))
        if volume not in self.devices:
            self.devices[volume] = self._free.pop(0)
        return self.devices[volume]

    def unmap(self, volume: Volume) -> None:
        self._act()
        if volume in self.devices:
            self._free.append(self.devices.pop(volume))

    def resized(self, volume: Volume, size: int) -> None:
        self._act()
        assert volume in self.devices, "resized without a device"
        self.sizes.append((volume, size))

    def _act(self) -> None:
        if self.failing:
            raise ExecError(self.failing)


# Ganeti's RPC


@dataclasses.dataclass
class FakeResult:
    """What Ganeti's RPC runner returns for a node."""

    node: str
    payload: Any = None
    fail_msg: str | None = None


class FakeRpc:
    """Ganeti's RPC runner: answers calls from functions, by call name and node."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = dict(names)
        self.sent: list[tuple[str, dict[str, Any]]] = []
        #: How long the caller would have waited, in seconds, one per call.
        self.limits: list[int] = []
        self._answers: dict[str, Callable[[str, Any], Any]] = {}

    def answers(self, name: str, function: Callable[[str, Any], Any]) -> None:
        """Answer a call with what a function of node UUID and argument returns.

        An exception of it becomes the failure of that node's call.
        """
        self._answers[name] = function

    def _Call(self, definition: Any, nodes: list[str], arguments: Any) -> Any:
        name, prepare = definition[0], definition[5]
        self.limits.append(definition[3])
        if name not in self._answers:
            raise UnknownCallError(f"no test said what the nodes answer to {name}")
        results = {}
        sent = {}
        for node in nodes:
            # As Ganeti does: what is sent has become JSON.
            protocol, sent[node] = json.loads(json.dumps(prepare(node, arguments)))
            assert protocol >= 1
            try:
                payload = self._answers[name](node, sent[node])
            except Exception as err:
                results[node] = FakeResult(self.names[node], fail_msg=str(err))
            else:
                results[node] = FakeResult(
                    self.names[node], json.loads(json.dumps(payload))
                )
        self.sent.append((name, sent))
        return results


class FakeNodes:
    """Nodes that answer calls: a step takes effect, unless a test says it fails."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = {node.uuid: node for node in nodes}
        self.cluster: ClusterFacts | None = None
        self.keys: steps.Keys | None = None
        #: (node's name, step's name) of all steps that were to be done.
        self.asked: list[tuple[str, str]] = []
        #: The OSDs that are needed, and what Ceph was asked about any.
        self.needed: set[int] = set()
        self.left: list[rpc.AskLeave] = []
        #: Bytes on each OSD, of a tebibyte.
        self.used = 0
        #: Why a step fails, by node's and step's name.
        self.failing: dict[tuple[str, str], str] = {}
        #: The pools that were granted, and those that are missing.
        self.granted: list[str] = []
        #: The pools beyond which all was taken back, and why that fails.
        self.left_with: tuple[str, ...] = ()
        self.kept_away = ""
        self.lost: set[str] = set()
        #: The storage cluster while too many of its mons are stopped.
        self.asleep: ClusterFacts | None = None

    def answer(self, runner: FakeRpc) -> None:
        """Answer the calls of an RPC runner."""
        runner.answers("ceph_look", self._look)
        runner.answers("ceph_status", self._status)
        runner.answers("ceph_report", self._report)
        runner.answers("ceph_keys", self._keys)
        runner.answers("ceph_leave", self._leave)
        runner.answers("ceph_grant", self._grant)
        runner.answers("ceph_take_back", self._take_back)
        runner.answers("ceph_do", self._do)

    def stop_mons(self, *names: str) -> None:
        """Stop the mons of nodes; without most of them there is no quorum."""
        for key, node in self.nodes.items():
            if node.name in names:
                self.nodes[key] = with_facts(node, stopped=(f"mon.{node.host}",))
        self.cluster, self.asleep = None, self.cluster
        self._elect()

    def _elect(self) -> None:
        if self.asleep is None:
            return
        named = {mon.id for mon in self.asleep.mons}
        awake = {
            node.host
            for node in self.nodes.values()
            if node.host in named and f"mon.{node.host}" not in node.facts.stopped
        }
        if 2 * len(awake) > len(named):
            quorum = tuple(sorted(awake))
            self.cluster = dataclasses.replace(self.asleep, quorum=quorum)
            self.asleep = None

    def _look(self, node: str, sent: Any) -> Any:
        wire.decode(rpc.Look, sent)
        return wire.encode(self.nodes[node].facts)

    def _status(self, node: str, sent: Any) -> Any:
        assert self.nodes[node].facts.has_keys, "asked where there are no keys"
        if self.cluster is None:
            raise ExecError("there is no quorum")
        return wire.encode(self.cluster)

    def _report(self, node: str, sent: Any) -> Any:
        assert self.nodes[node].facts.has_keys, "asked where there are no keys"
        if self.cluster is None:
            raise ExecError("there is no quorum")
        use = tuple(OsdUse(osd.id, 2**40, self.used) for osd in self.cluster.osds)
        counts = (0,) * 7
        return wire.encode(Report(self.cluster, 0, 0, (), use, (), *counts))

    def _keys(self, node: str, sent: Any) -> Any:
        if self.keys is None or not self.nodes[node].facts.mons:
            raise ExecError("this node has no mon, or not the administrator's key")
        return wire.encode(self.keys)

    def _leave(self, node: str, sent: Any) -> Any:
        asked = wire.decode(rpc.AskLeave, sent)
        assert self.nodes[node].facts.has_keys, "asked where there are no keys"
        self.left.append(asked)
        needed = self.needed.intersection(asked.osds)
        return wire.encode(rpc.Objections("they are needed" if needed else None))

    def _grant(self, node: str, sent: Any) -> None:
        asked = wire.decode(rpc.Grant, sent)
        assert self.nodes[node].facts.has_keys, "asked where there are no keys"
        assert asked.user == "ganeti"
        if lost := self.lost.intersection(asked.pools):
            raise ExecError(f"no pool {', '.join(sorted(lost))}")
        self.granted += asked.pools

    def _take_back(self, node: str, sent: Any) -> None:
        asked = wire.decode(rpc.Grant, sent)
        assert self.nodes[node].facts.has_keys, "asked where there are no keys"
        assert asked.user == "ganeti"
        if self.kept_away:
            raise ExecError(self.kept_away)
        self.left_with = asked.pools

    def _do(self, node: str, sent: Any) -> Any:
        outcomes = []
        for step in rpc.decode_steps(sent):
            name = self.nodes[node].name
            self.asked.append((name, step.name))
            error = self.failing.get((name, step.name))
            if error is None:
                self.nodes[node], self.cluster = effect(
                    step, self.nodes[node], self.cluster, self.nodes
                )
                if isinstance(step, steps.MakeMon):
                    self.keys = step.keys
                self._elect()
            done = f"{step.name} was done" if error is None else ""
            outcomes.append(rpc.Outcome(step.name, 1.5, done, error))
        return wire.encode(rpc.Outcomes(tuple(outcomes)))


# Ganeti's configuration


class FakeConfig:
    """Ganeti's configuration: gives copies away, and keeps what was updated."""

    def __init__(self) -> None:
        #: What jobs have reserved until their end.
        self.reserved: set[str] = set()
        #: What was updated, by name and in order.
        self.updates: list[str] = []
        self._given = 0
        cluster = objects.Cluster(
            cluster_name="cluster",
            uuid="cluster",
            serial_no=1,
            diskparams={constants.DT_DRBD8: {"resync-rate": 1}},
            enabled_disk_templates=[constants.DT_DRBD8],
            ipolicy={constants.IPOLICY_DTS: [constants.DT_DRBD8]},
        )
        self._stored: dict[str, Any] = {cluster.uuid: cluster}

    # What a test says is there

    def add_group(self, name: str, nodes: Sequence[Node] = ()) -> None:
        """Add a node group and its nodes."""
        group = objects.NodeGroup(
            uuid=f"uuid-of-{name}",
            name=name,
            members=[node.uuid for node in nodes],
            diskparams={},
            serial_no=1,
        )
        self._stored[group.uuid] = group
        for node in nodes:
            self._stored[node.uuid] = objects.Node(
                uuid=node.uuid,
                name=node.name,
                primary_ip=node.primary_ip,
                secondary_ip=node.secondary_ip,
                group=group.uuid,
                offline=False,
                serial_no=1,
            )

    def add_guest(self, name: str, node: Node, disks: Sequence[Any] = ()) -> None:
        """Add an instance on a node, and its disks; their UUIDs are of its name."""
        for index, disk in enumerate(disks):
            disk.uuid, disk.serial_no = f"disk{index}-of-{name}", 1
            self._stored[disk.uuid] = disk
        guest = objects.Instance(
            uuid=f"uuid-of-{name}",
            name=name,
            primary_node=node.uuid,
            disks=[disk.uuid for disk in disks],
            serial_no=1,
        )
        self._stored[guest.uuid] = guest

    def find(self, name: str) -> Any:
        """Return the stored object of a name, for a test to look at or to change."""
        return next(
            one
            for one in self._stored.values()
            if name in (getattr(one, "name", None), one.uuid)
        )

    def tags(self, name: str) -> set[str]:
        """Return the tags of an object."""
        return set(self.find(name).GetTags())

    # What Ganeti's has

    def GetClusterInfo(self) -> Any:
        return self._get("cluster")

    def GetNodeInfo(self, node_uuid: str) -> Any:
        return self._get(node_uuid)

    def ExpandNodeName(self, short_name: str) -> tuple[str | None, str | None]:
        for node in self.GetAllNodesInfo().values():
            if short_name in (node.name, node.name.partition(".")[0]):
                return node.uuid, node.name
        return None, None

    def GetNodeGroup(self, group_uuid: str) -> Any:
        return self._get(group_uuid)

    def GetAllNodesInfo(self) -> Any:
        return self._all(objects.Node)

    def GetAllNodeGroupsInfo(self) -> Any:
        return self._all(objects.NodeGroup)

    def GetNodeGroupList(self) -> list[str]:
        return list(self._all(objects.NodeGroup))

    def GetAllInstancesInfo(self) -> Any:
        return self._all(objects.Instance)

    def GetAllDisksInfo(self) -> Any:
        return self._all(objects.Disk)

    def GetInstanceDisks(self, inst_uuid: str) -> Any:
        return [self._get(disk) for disk in self._stored[inst_uuid].disks]

    def GetInstanceDiskTemplate(self, inst_uuid: str) -> Any:
        return ganeti_utils.GetDiskTemplate(self.GetInstanceDisks(inst_uuid))

    def GetClusterName(self) -> str:
        return str(self.GetClusterInfo().cluster_name)

    def GetInstanceInfo(self, inst_uuid: str) -> Any:
        return self._get(inst_uuid)

    def GetInstanceInfoByName(self, inst_name: str) -> Any:
        for guest in self.GetAllInstancesInfo().values():
            if guest.name == inst_name:
                return guest
        return None

    def GetOnlineNodeList(self) -> list[str]:
        return [n.uuid for n in self.GetAllNodesInfo().values() if not n.offline]

    def ExpandInstanceName(self, short_name: str) -> tuple[str | None, str | None]:
        guest = self.GetInstanceInfoByName(short_name)
        return (guest.uuid, guest.name) if guest else (None, None)

    def GetGroupDiskParams(self, group: Any) -> Any:
        return self.GetClusterInfo().SimpleFillDP(group.diskparams)

    def GetInstanceDiskParams(self, instance: Any) -> Any:
        group = self.GetNodeGroup(self.GetNodeInfo(instance.primary_node).group)
        return self.GetClusterInfo().SimpleFillDP(group.diskparams)

    def GetVGName(self) -> None:
        return None

    def GenerateUniqueID(self, ec_id: str) -> str:
        self._given += 1
        return f"id{self._given}"

    def ReserveLV(self, lv_name: str, ec_id: str) -> None:
        assert re.fullmatch(r"[a-zA-Z0-9+_.-]+/[a-zA-Z0-9+_.-]+", lv_name), lv_name
        if lv_name in self.reserved:
            raise ganeti_errors.ReservationError("LV already in use")
        self.reserved.add(lv_name)

    def LookupNodeGroup(self, target: str) -> str:
        for group in self.GetAllNodeGroupsInfo().values():
            if target in (group.uuid, group.name):
                return str(group.uuid)
        raise ganeti_errors.OpPrereqError(
            f"Node group '{target}' not found", ganeti_errors.ECODE_NOENT
        )

    def Update(self, target: Any, feedback_fn: Any) -> None:
        stored = self._stored[target.uuid]
        if target.serial_no != stored.serial_no:
            raise ganeti_errors.ConfigurationError(f"{target.uuid} has changed since")
        target.serial_no += 1
        self._stored[target.uuid] = copy.deepcopy(target)
        self.updates.append(getattr(target, "name", None) or target.uuid)

    def _get(self, key: str) -> Any:
        return copy.deepcopy(self._stored.get(key))

    def _all(self, kind: type[Any]) -> dict[str, Any]:
        return {
            key: self._get(key)
            for key, one in self._stored.items()
            if isinstance(one, kind)
        }
