"""Stand-ins for what the extension meets: programs, Ceph, a clock, Ganeti's RPC.

They keep state, are shared by the tests, and fail on whatever they do not know.
"""

import copy
import dataclasses
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import rados
import rbd
from ganeti import constants, objects
from ganeti import errors as ganeti_errors

from ganeti_ceph import cephconf, plan, rpc, steps, wire
from ganeti_ceph.cephconf import Mon
from ganeti_ceph.errors import ExecError
from ganeti_ceph.facts import (
    ClusterFacts,
    Device,
    Label,
    NodeFacts,
    Osd,
    OsdDir,
    Pool,
)
from ganeti_ceph.plan import PACKAGES, Node

RELEASES = ("bookworm", "trixie")
FSID = "5b6a3ad2-2d6e-4b0c-9a5e-0d3f6a1c7e11"
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
        "mons": (),
        "mgrs": (),
        "osds": (),
        "disks": (make_device(),),
        "db_devices": (),
        "addresses": (f"{address}/24",),
        "device_mapper": False,
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
        return with_facts(node, conf=text, has_keys=True), cluster
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
    assert cluster is not None, f"{step} without a cluster"
    if isinstance(step, steps.MakeMgr):
        mgrs = (*cluster.mgrs, step.id)
        node = with_facts(node, mgrs=(step.id,))
        return node, dataclasses.replace(cluster, mgrs=mgrs)
    if isinstance(step, steps.MakeOsd):
        number = len(cluster.osds)
        labels = {
            step.device: make_label(step.fsid, osd_uuid=step.osd_uuid, osd_id=number)
        }
        if step.db_device:
            labels[step.db_device] = make_label(
                "", osd_uuid=step.osd_uuid, osd_id=None, complete=False
            )
        made = Osd(number, step.osd_uuid, True, False)
        return _labelled(node, labels, number, step.fsid), dataclasses.replace(
            cluster, osds=(*cluster.osds, made)
        )
    if isinstance(step, steps.MakeLvmOsds):
        labels, osds = {}, list(cluster.osds)
        for path in step.devices:
            osd_uuid = plan.osd_uuid(step.fsid, node.host, path + "lvm")
            labels[path] = make_label(step.fsid, osd_uuid=osd_uuid, osd_id=len(osds))
            osds.append(Osd(len(osds), osd_uuid, True, False))
        for path in step.db_devices:
            labels[path] = make_label(
                step.fsid, osd_uuid=osds[-1].uuid, osd_id=osds[-1].id
            )
        return _labelled(node, labels, osds[-1].id, step.fsid), dataclasses.replace(
            cluster, osds=tuple(osds)
        )
    if isinstance(step, steps.StartOsd):
        started = tuple(
            dataclasses.replace(osd, up=osd.up or osd.uuid == step.osd_uuid)
            for osd in cluster.osds
        )
        return node, dataclasses.replace(cluster, osds=started)
    if isinstance(step, steps.MakePool):
        pool = Pool(step.pool, step.size, step.min_size, step.pg_num, ("rbd",))
        return node, dataclasses.replace(cluster, pools=(pool,))
    assert isinstance(step, steps.Settle | steps.AwaitHealth), step
    return node, cluster


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


@dataclasses.dataclass
class FakePool:
    name: str
    pg_num: int
    rule: str
    #: What Ceph gives a new pool.
    size: int = 3
    min_size: int = 2
    applications: set[str] = dataclasses.field(default_factory=set)


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
        #: By pool and name.
        self.images: dict[str, dict[str, FakeImage]] = {}
        self.unclean = 0
        self.reachable = True
        #: (prefix, arguments) of all commands, and how often somebody connected.
        self.commands: list[tuple[str, dict[str, Any]]] = []
        self.connections = 0
        #: Answers that take the place of a command's own, for example recorded ones.
        self.answers: dict[str, Any] = {}

    # What a test says happens

    def osd(self, osd_uuid: str, **changes: Any) -> FakeOsd:
        """Add an OSD."""
        number = len(self.osds)
        self.osds[number] = FakeOsd(number, osd_uuid, **changes)
        return self.osds[number]

    # What stands for librados

    def rados(self, **_: Any) -> "FakeRados":
        """Take the place of ``rados.Rados``."""
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
        return {"quorum_names": list(self.quorum)}

    def _mgr_dump(self) -> Any:
        active, *standbys = self.mgrs or [""]
        return {
            "active_name": active,
            "standbys": [{"name": name} for name in standbys],
        }

    def _osd_dump(self) -> Any:
        return {
            "osds": [
                {
                    "osd": osd.id,
                    "uuid": osd.uuid,
                    "up": int(osd.up),
                    "state": ["exists"]
                    + (["new"] if osd.new else [])
                    + (["up"] if osd.up else []),
                }
                for osd in self.osds.values()
            ],
            "pools": [
                {
                    "pool_name": pool.name,
                    "size": pool.size,
                    "min_size": pool.min_size,
                    "pg_num": pool.pg_num,
                    "application_metadata": {name: {} for name in pool.applications},
                }
                for pool in self.pools.values()
            ],
        }

    def _osd_stat(self) -> Any:
        up = sum(osd.up for osd in self.osds.values())
        return {"num_osds": len(self.osds), "num_up_osds": up}

    def _osd_tree(self) -> Any:
        placed = [osd for osd in self.osds.values() if osd.up or osd.placed]
        return {
            "nodes": [
                {"id": -1, "name": "default", "type": "root"},
                *(
                    {"id": one.id, "name": f"osd.{one.id}", "type": "osd"}
                    for one in placed
                ),
            ],
            "stray": [],
        }

    def _health(self) -> Any:
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

    def _auth_get_or_create(self, entity: str, caps: list[str]) -> Any:
        key, had = self.keys.setdefault(entity, (f"key-of-{entity}==", tuple(caps)))
        if had != tuple(caps):
            raise Refused(22, f"key for {entity} exists but cap does not match")
        return [{"entity": entity, "key": key}]

    def _osd_purge_new(self, id: int, yes_i_really_mean_it: bool = False) -> None:
        if not yes_i_really_mean_it:
            raise Refused(1, "Are you SURE?")
        if not self.osds[id].new:
            raise Refused(1, "osd is not new")
        del self.osds[id]

    def _osd_new(self, uuid: str, data: bytes) -> Any:
        if any(osd.uuid == uuid for osd in self.osds.values()):
            raise Refused(17, "entity exists but key does not match")
        number = next(one for one in range(100) if one not in self.osds)
        self.osds[number] = FakeOsd(number, uuid)
        self.keys[f"osd.{number}"] = (json.loads(data)["cephx_secret"], ())
        return {"osdid": number}


class FakeRados:
    """One connection to a :class:`FakeCeph`."""

    def __init__(self, cluster: FakeCeph) -> None:
        self._cluster = cluster
        self.connected = False

    def connect(self) -> None:
        if not self._cluster.reachable:
            raise rados.TimedOut("error connecting to the cluster", 110)
        self._cluster.connections += 1
        self.connected = True

    def mon_command(
        self, request: str, data: bytes, *_: Any, **__: Any
    ) -> tuple[int, bytes, str]:
        assert self.connected, "a command over no connection"
        return self._cluster.mon_command(request, data)

    def open_ioctx(self, pool: str) -> "FakePoolHandle":
        assert self.connected, "a pool over no connection"
        if pool not in self._cluster.images:
            raise rados.ObjectNotFound(f"error opening pool {pool!r}", 2)
        return FakePoolHandle(self._cluster.images[pool])

    def shutdown(self) -> None:
        self.connected = False


# Images


class FakeImage:
    """An image that keeps its content."""

    def __init__(self, size: int = 0, content: bytes = b"") -> None:
        self.data = bytearray(content.ljust(size, b"\0"))
        #: Addresses of those who have it open to write.
        self.watchers: list[str] = []
        self.snapshots = 0
        #: (offset, length) of what was written, and of what was zeroed.
        self.written: list[tuple[int, int]] = []
        self.zeroed: list[tuple[int, int]] = []
        #: Whether the last of that is safe from a power failure.
        self.flushed = True
        #: What opening it fails with.
        self.broken: Exception | None = None


class FakePoolHandle:
    """An open pool."""

    def __init__(self, images: dict[str, FakeImage]) -> None:
        self.images = images

    def __enter__(self) -> "FakePoolHandle":
        return self

    def __exit__(self, *_: Any) -> None:
        pass


class FakeRbd:
    """Takes the place of ``rbd.RBD``."""

    def create(
        self, pool: FakePoolHandle, name: str, size: int, old_format: bool = True
    ) -> None:
        assert not old_format
        if name in pool.images:
            raise rbd.ImageExists(f"error creating {name!r}", 17)
        pool.images[name] = FakeImage(size)

    def remove(self, pool: FakePoolHandle, name: str) -> None:
        if name not in pool.images:
            raise rbd.ImageNotFound(f"error removing {name!r}", 2)
        image = pool.images[name]
        if image.snapshots:
            raise rbd.ImageHasSnapshots(f"error removing {name!r}", 39)
        if image.watchers:
            raise rbd.ImageBusy(f"error removing {name!r}", 16)
        del pool.images[name]


class FakeOpenImage:
    """Takes the place of ``rbd.Image``."""

    def __init__(
        self, pool: FakePoolHandle, name: str, read_only: bool = False
    ) -> None:
        if name not in pool.images:
            raise rbd.ImageNotFound(f"error opening image {name!r}", 2)
        self._image = pool.images[name]
        if self._image.broken:
            raise self._image.broken
        self._read_only = read_only

    def __enter__(self) -> "FakeOpenImage":
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def size(self) -> int:
        return len(self._image.data)

    def watchers_list(self) -> list[dict[str, Any]]:
        return [{"addr": one, "id": 1, "cookie": 2} for one in self._image.watchers]

    def read(self, offset: int, length: int) -> bytes:
        assert offset + length <= self.size()
        return bytes(self._image.data[offset : offset + length])

    def resize(self, size: int) -> None:
        self._may_write()
        del self._image.data[size:]
        self._image.data.extend(bytes(size - self.size()))

    def write(self, data: bytes, offset: int) -> None:
        self._put(data, offset)
        self._image.written.append((offset, len(data)))

    def write_zeroes(self, offset: int, length: int) -> None:
        self._put(bytes(length), offset)
        self._image.zeroed.append((offset, length))

    def flush(self) -> None:
        self._may_write()
        self._image.flushed = True

    def _put(self, data: bytes, offset: int) -> None:
        self._may_write()
        if offset + len(data) > self.size():
            raise rbd.InvalidArgument("error writing", 22)
        self._image.data[offset : offset + len(data)] = data
        self._image.flushed = False

    def _may_write(self) -> None:
        if self._read_only:
            raise rbd.ReadOnlyImage("error writing", 30)


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
        #: Why a step fails, by node's and step's name.
        self.failing: dict[tuple[str, str], str] = {}

    def answer(self, runner: FakeRpc) -> None:
        """Answer the calls of an RPC runner."""
        runner.answers("ceph_look", self._look)
        runner.answers("ceph_status", self._status)
        runner.answers("ceph_keys", self._keys)
        runner.answers("ceph_do", self._do)

    def _look(self, node: str, sent: Any) -> Any:
        wire.decode(rpc.Look, sent)
        return wire.encode(self.nodes[node].facts)

    def _status(self, node: str, sent: Any) -> Any:
        assert self.nodes[node].facts.has_keys, "asked where there are no keys"
        if self.cluster is None:
            raise ExecError("there is no quorum")
        return wire.encode(self.cluster)

    def _keys(self, node: str, sent: Any) -> Any:
        if self.keys is None or not self.nodes[node].facts.mons:
            raise ExecError("this node has no mon, or not the administrator's key")
        return wire.encode(self.keys)

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
                if isinstance(step, steps.Configure):
                    self.keys = step.keys
            done = f"{step.name} was done" if error is None else ""
            outcomes.append(rpc.Outcome(step.name, 1.5, done, error))
        return wire.encode(rpc.Outcomes(tuple(outcomes)))


# Ganeti's configuration


class FakeConfig:
    """Ganeti's configuration: gives copies away, and keeps what was updated."""

    def __init__(self) -> None:
        #: What was updated, by name and in order.
        self.updates: list[str] = []
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

    def GetNodeGroup(self, group_uuid: str) -> Any:
        return self._get(group_uuid)

    def GetAllNodesInfo(self) -> Any:
        return self._all(objects.Node)

    def GetAllNodeGroupsInfo(self) -> Any:
        return self._all(objects.NodeGroup)

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
