"""Reads the storage cluster: every command to Ceph is given here.

A reading asks a fixed number of questions, however many OSDs and images there are.
Answers that grow with the OSDs are asked for this node's alone, but on the node of the
mon that leads the quorum: its collector tells of all, and of the images.  Who leads
thus follows a failure, and nobody has to be elected.
"""

import contextlib
import dataclasses
import errno
import logging
import time
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import rados

from ganeti_ceph import ceph
from ganeti_ceph.collector import local, read
from ganeti_ceph.collector.facts import (
    Daemon,
    Gap,
    Image,
    ImageIo,
    Mgr,
    Mon,
    Osd,
    Pool,
    Sample,
)
from ganeti_ceph.collector.images import Images, Key
from ganeti_ceph.errors import CephError, Error
from ganeti_ceph.node.collector import USER
from ganeti_ceph.run import Runner

#: Seconds that a connection and each answer may take.
TIMEOUT = 10

#: How many of this node's OSDs are asked for their versions in one reading.
_VERSIONS = 8

#: Seconds after the start of an OSD from which on mons that count it as up know of that
#: start; before, they may tell what it was at its last one.
_KNOWN = 60.0

#: What tells that there is nobody to ask anything more.
_GONE = frozenset(
    {
        *(errno.ETIMEDOUT, errno.ESHUTDOWN, errno.ENOTCONN, errno.ECONNREFUSED),
        *(errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ECONNABORTED),
    }
)

Value = TypeVar("Value")


class _Answers:
    """Ceph's answers in one reading, each asked for once, be it in vain."""

    def __init__(
        self, connect: Callable[[], rados.Rados], disconnect: Callable[[], None]
    ) -> None:
        """Ask over the connection that ``connect`` gives, again where it ended."""
        self._connect = connect
        self._disconnect = disconnect
        #: Why there is no use in asking on; None while there is.
        self.gone: CephError | None = None
        self._got: dict[tuple[Any, ...], Any] = {}
        self._silent_manager: CephError | None = None

    def cluster(self) -> rados.Rados:
        """Return the connection; raises :class:`CephError` if there is none."""
        if self.gone:
            raise self.gone
        try:
            return self._connect()
        except CephError as err:
            self.gone = err
            raise

    def mon(self, prefix: str, **args: Any) -> Any:
        """Return the answer of the mons; raises :class:`CephError`."""

        def ask() -> Any:
            cluster = self.cluster()
            try:
                return ceph.command(cluster, prefix, **args)
            except CephError as err:
                if err.errno in _GONE:
                    self.gone = err
                raise

        return self._once((prefix, *sorted(args.items())), ask)

    def mgr(self, prefix: str, **args: Any) -> Any:
        """Return the answer of the active manager; raises :class:`CephError`."""

        def ask() -> Any:
            self.need_manager()
            cluster = self.cluster()
            try:
                return ceph.manager_command(cluster, prefix, **args)
            except CephError as err:
                if err.errno in _GONE:
                    # The mons are still there, for a new connection.
                    self._disconnect()
                    self._silent_manager = CephError(
                        f"the manager does not answer ({err})", errno.EAGAIN
                    )
                raise

        return self._once((prefix, *sorted(args.items())), ask)

    def need_manager(self) -> None:
        """Raise :class:`CephError` while nobody counts anything."""
        if not read.has_mgr(self.mon("status")):
            raise CephError("no manager is active", errno.EAGAIN)
        if self._silent_manager:
            raise self._silent_manager

    def _once(self, key: tuple[Any, ...], ask: Callable[[], Any]) -> Any:
        if key not in self._got:
            try:
                self._got[key] = ask()
            except CephError as err:
                self._got[key] = err
        found = self._got[key]
        if isinstance(found, CephError):
            raise found
        return found


class _Parts:
    """Tells apart what could be read and what not."""

    def __init__(self, since: dict[str, float], faults: set[str], now: float) -> None:
        """Keep when a part was read last, and in which ones a fault was logged."""
        self._since = since
        self._faults = faults
        self._now = now
        self.gaps: list[Gap] = []

    def read(
        self, part: str, ask: Callable[[], Value], lacks: Callable[[], str] = str
    ) -> Value | None:
        """Return a part; None, and a gap, if it cannot be read.

        ``lacks`` says afterwards why some of it could not, which is a gap, too.
        """
        try:
            value = ask()
        except Error as err:
            reason = str(err)
        except Exception as err:
            # A fault of ours, or something odd in Ceph: all other parts are worth it.
            if part not in self._faults:
                logging.exception("a fault while the %s are read", part)
                self._faults.add(part)
            reason = f"a fault ({type(err).__name__}: {err})"
        else:
            self._faults.discard(part)
            if reason := lacks():
                self.gaps.append(Gap(part, reason, self._since.get(part)))
            else:
                self._since[part] = self._now
            return value
        self.gaps.append(Gap(part, reason, self._since.get(part)))
        return None


@dataclasses.dataclass(frozen=True)
class _Told:
    """What the mons told of an OSD's start."""

    started: float | None = None
    asked: float = 0.0
    #: Whether it is surely of that start.
    sure: bool = False
    version: str | None = None
    devices: tuple[str, ...] = ()


class Sampler:
    """Keeps a connection to the storage cluster and takes one sample after the other.

    It never raises for what Ceph answers or does not answer.  For one thread only.
    """

    def __init__(
        self,
        hostname: str,
        run: Runner,
        images: Images | None,
        *,
        keyring: str | None = None,
        alone: bool = False,
        ssconf: Path = local.SSCONF,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Sample for a host; ``alone`` tells of everything, whoever leads.

        ``hostname`` is as the kernel has it, thus as daemons tell it Ceph.  Without
        ``images`` it does not look at any.
        """
        self._hostname = hostname
        self._host = str(read.host(hostname))
        self._run = run
        self._images = images
        self._keyring = keyring
        self._alone = alone
        self._ssconf = ssconf
        self._clock = clock
        #: When a part was read last.
        self._since: dict[str, float] = {}
        #: In which parts there was a fault the last time.
        self._faults: set[str] = set()
        self._stack = contextlib.ExitStack()
        self._cluster: rados.Rados | None = None
        #: What OSDs of this node said of themselves.
        self._told: dict[str, _Told] = {}

    def close(self) -> None:
        """End the connection; the next sample makes a new one."""
        self._cluster = None
        self._stack.close()

    def take(self) -> Sample:
        """Read everything, as far as it answers.

        A storage cluster that does not answer at all takes :data:`TIMEOUT`; one where
        mons, manager and OSDs each fall silent meanwhile takes it thrice.
        """
        began, ticks = self._clock(), time.monotonic()
        parts = _Parts(self._since, self._faults, began)
        answers = _Answers(self._connect, self.close)
        sample = self._read_cluster(began, answers, parts)
        daemons = self._read_daemons(answers, parts, sample)
        images = None
        if self._images is None:
            pass
        elif sample.leads:
            images = self._read_images(self._images, answers, parts)
        elif sample.leader is None:
            # There is no other collector that would tell of them.
            parts.read("images", lambda: _nobody_leads(answers))
        if answers.gone:
            # librados finds its way back to the mons that it knew, but neither to new
            # ones nor with a new key.
            self.close()
        return dataclasses.replace(
            sample,
            daemons=daemons,
            images=images,
            gaps=tuple(parts.gaps),
            seconds=time.monotonic() - ticks,
        )

    def _connect(self) -> rados.Rados:
        if self._cluster is None:
            self._cluster = self._stack.enter_context(
                ceph.connect(
                    user=f"client.{USER}", timeout=TIMEOUT, keyring=self._keyring
                )
            )
        return self._cluster

    def _read_cluster(self, began: float, answers: _Answers, parts: _Parts) -> Sample:
        def counted(reader: Callable[[Any], Value], prefix: str, **args: Any) -> Value:
            # The mons have an answer even then, but an old one.
            answers.need_manager()
            return reader(answers.mon(prefix, **args))

        counts = parts.read("counts", lambda: read.counts(answers.mon("status")))
        mons = parts.read("mons", lambda: _mons(answers))
        leader = self._host if self._alone else _leader(answers, mons or ())
        return Sample(
            host=self._host,
            names=local.names(self._ssconf),
            taken=began,
            seconds=0.0,
            leader=leader,
            fsid=read.fsid(answers.mon("status")) if counts else None,
            health=parts.read(
                "health", lambda: read.health(answers.mon("health", detail="detail"))
            ),
            mons=mons,
            mgrs=parts.read("mgrs", lambda: _mgrs(answers)),
            counts=counts,
            groups=parts.read("groups", lambda: counted(read.groups, "status")),
            capacity=parts.read(
                "capacity", lambda: counted(read.capacity, "df", detail="detail")
            ),
            pools=parts.read(
                "pools",
                lambda: _with_settings(
                    counted(read.pools, "df", detail="detail"), answers
                ),
            ),
            osds=self._read_osds(answers, parts, leader == self._host),
            devices=parts.read(
                "devices",
                lambda: read.devices(
                    answers.mgr("device ls-by-host", host=self._hostname)
                ),
            ),
        )

    def _read_osds(
        self, answers: _Answers, parts: _Parts, everything: bool
    ) -> tuple[Osd, ...] | None:
        """Return all OSDs, or those of this node."""
        mine = {} if everything else {"filter_by": "name", "filter": self._host}

        latencies = parts.read(
            "latencies", lambda: read.latencies(answers.mgr("osd perf"))
        )

        def known(ask: Callable[[], Any]) -> tuple[Osd, ...]:
            try:
                return read.osds(ask(), latencies or {})
            except CephError as err:
                # A host that holds no data has no place in the CRUSH map.
                if not everything and err.errno in (errno.EINVAL, errno.ENOENT):
                    return ()
                raise

        def use() -> tuple[Osd, ...]:
            return known(lambda: answers.mgr("osd df", output_method="tree", **mine))

        def tree() -> tuple[Osd, ...]:
            if everything:
                return known(lambda: answers.mon("osd tree"))
            return known(lambda: answers.mon("osd tree-from", bucket=self._host))

        used = parts.read("use", use)
        # Without a manager it is still known which ones run.
        return parts.read("osds", (lambda: used) if used is not None else tree)

    def _read_daemons(
        self, answers: _Answers, parts: _Parts, sample: Sample
    ) -> tuple[Daemon, ...] | None:
        """Return the daemons of this node, with the versions that they tell Ceph."""
        daemons = parts.read("daemons", lambda: local.daemons(self._run))
        if daemons is None:
            return None
        osds = [one for one in daemons if one.kind == "osd"]
        up = {str(osd.id) for osd in sample.osds or () if osd.up}
        parts.read("versions", lambda: self._ask_osds(answers, osds, up, sample.taken))
        versions = {("mon", mon.name): mon.version for mon in sample.mons or ()}
        versions |= {("mgr", mgr.name): mgr.version for mgr in sample.mgrs or ()}
        told = []
        for one in daemons:
            if one.kind == "osd":
                told_of = self._told.get(one.name, _Told())
                version, devices = told_of.version, told_of.devices
            else:
                version, devices = versions.get((one.kind, one.name)), ()
            told.append(dataclasses.replace(one, version=version, devices=devices))
        return tuple(told)

    def _ask_osds(
        self, answers: _Answers, osds: Sequence[Daemon], up: Container[str], now: float
    ) -> int:
        """Ask some OSDs that began to run since; return how many are still to ask."""
        names = {one.name for one in osds}
        self._told = {name: told for name, told in self._told.items() if name in names}
        due = []
        for one in osds:
            told = self._told.get(one.name, _Told())
            if one.running and not (told.sure and told.started == one.started):
                # Those that nobody asked since their start go first.
                due.append((told.asked if told.started == one.started else 0.0, one))
        due.sort(key=lambda pair: (pair[0], pair[1].name))
        for _, one in due[:_VERSIONS]:
            found = read.osd_metadata(answers.mon("osd metadata", id=int(one.name)))
            runs = one.started is not None and now - one.started >= _KNOWN
            sure = runs and one.name in up
            self._told[one.name] = _Told(one.started, now, sure, *found)
        return max(0, len(due) - _VERSIONS)

    def _read_images(
        self, images: Images, answers: _Answers, parts: _Parts
    ) -> tuple[Image, ...] | None:
        counters = parts.read("io", lambda: _image_io(answers)) or {}

        def look() -> tuple[Image, ...]:
            pools = read.image_pools(answers.mon("osd pool ls", detail="detail"))
            try:
                return images.look(answers.cluster(), pools, counters)
            except CephError as err:
                if err.errno == errno.ESHUTDOWN:
                    # Ceph has shut this client out, and lets none but a new one in.
                    answers.gone = err
                raise

        def unlisted() -> str:
            return "; ".join(map(str, images.unlisted.values()))

        return parts.read("images", look, unlisted)


def _mons(answers: _Answers) -> tuple[Mon, ...]:
    quorum = read.quorum(answers.mon("status"))
    hosts = read.mon_hosts(answers.mon("mon metadata"))
    return tuple(
        dataclasses.replace(mon, host=host, version=version)
        for mon in read.mons(answers.mon("mon dump"), quorum)
        for host, version in [hosts.get(mon.name, (None, None))]
    )


def _leader(answers: _Answers, mons: Sequence[Mon]) -> str | None:
    """Return the host of the mon that leads the quorum, None if that is not known."""
    first = read.quorum(answers.mon("status"))[:1] if mons else ()
    return next((mon.host or mon.name for mon in mons if mon.name in first), None)


def _nobody_leads(answers: _Answers) -> NoReturn:
    """Raise what keeps it from being known who leads."""
    _mons(answers)
    raise CephError("none of the mons leads a quorum", errno.EAGAIN)


def _mgrs(answers: _Answers) -> tuple[Mgr, ...]:
    return read.mgrs(
        read.active_mgr(answers.mon("mgr stat")),
        read.mgr_hosts(answers.mon("mgr metadata")),
    )


def _with_settings(pools: Sequence[Pool], answers: _Answers) -> tuple[Pool, ...]:
    settings = read.pool_settings(answers.mon("osd pool ls", detail="detail"))
    return tuple(
        dataclasses.replace(pool, **settings.get(pool.id, {})) for pool in pools
    )


def _image_io(answers: _Answers) -> dict[Key, ImageIo]:
    """Return what is counted of images: a manager tells of the 64 busiest only."""
    found: dict[Key, ImageIo] = {}
    for counter in ("read_bytes", "write_bytes"):
        answer = answers.mgr("rbd perf image counters", sort_by=counter)
        found |= read.image_io(answer)
    return found
