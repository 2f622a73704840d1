"""Stand-ins for what the extension meets: programs, Ceph, a clock, Ganeti's RPC.

They keep state, are shared by the tests, and fail on whatever they do not know.
"""

import dataclasses
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import rados

from ganeti_ceph.cephconf import Mon
from ganeti_ceph.errors import ExecError
from ganeti_ceph.facts import ClusterFacts, Device, Label, NodeFacts, OsdDir
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
        **_: Any,
    ) -> None:
        assert (pool_type, pgp_num, autoscale_mode) == ("replicated", pg_num, "off")
        if rule not in self.rules:
            raise Refused(2, f"specified rule {rule} doesn't exist")
        self.pools.setdefault(pool, FakePool(pool, pg_num, rule))

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

    def shutdown(self) -> None:
        self.connected = False


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
        self._answers: dict[str, Callable[[str, Any], Any]] = {}

    def answers(self, name: str, function: Callable[[str, Any], Any]) -> None:
        """Answer a call with what a function of node UUID and argument returns.

        An exception of it becomes the failure of that node's call.
        """
        self._answers[name] = function

    def _Call(self, definition: Any, nodes: list[str], arguments: Any) -> Any:
        name, prepare = definition[0], definition[5]
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
