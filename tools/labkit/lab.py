"""A whole lab: its nodes, their network and disks, from up to down."""

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from . import cgroups, host
from .disks import detach, loops_below, loops_on, make_disk
from .errors import LabError, SignalError
from .extension import ensure_extension
from .image import ensure_image
from .locks import folder_lock
from .machines import forget_machine
from .mounts import mounts_of, unmount_below
from .network import MAX_NODES, Network
from .node import Node, note_devices, noted_devices
from .paths import DATA_ROOT, RUN_ROOT, LabPaths
from .releases import Release, find_release
from .site import ensure_site

NODE_MEMORY = 1 * host.GIB
NODE_ROOM = 2 * host.GIB
MAX_DISKS = 16


@dataclass(frozen=True)
class Shape:
    """What a lab is made of."""

    release: str
    nodes: int
    disks: int

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= MAX_NODES:
            raise LabError(f"--nodes={self.nodes}: must be 1 to {MAX_NODES}")
        if not 0 <= self.disks <= MAX_DISKS:
            raise LabError(f"--disks={self.disks}: must be 0 to {MAX_DISKS}")


class Lab:
    """One lab, found by its name."""

    def __init__(self, name: str) -> None:
        self.paths = LabPaths(name)
        self.network = Network(self.paths)

    @property
    def name(self) -> str:
        """The lab's name."""
        return self.paths.name

    def exists(self) -> bool:
        """Whether there is anything of this lab on the host."""
        traces = [self.paths.run, self.paths.data, *cgroups.groups(self.name)]
        return any(trace.exists() for trace in traces)

    def shape(self) -> Shape:
        """Return what the lab was started with."""
        try:
            return Shape(**json.loads(self.paths.state.read_text()))
        except FileNotFoundError:
            raise LabError(f"no lab {self.name!r}: tools/lab up starts it") from None

    def nodes(self) -> list[Node]:
        """Return the lab's nodes."""
        return [Node(self.paths, n) for n in range(1, self.shape().nodes + 1)]

    def node(self, name: str) -> Node:
        """Return a node by its short or full name."""
        nodes = self.nodes()
        for node in nodes:
            if name in (node.name, node.fqdn):
                return node
        known = ", ".join(node.name for node in nodes)
        raise LabError(f"no node {name!r} in lab {self.name!r}, only {known}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other lab processes from changing this lab meanwhile."""
        waiting = f"another process is working on lab {self.name!r}, waiting for it"
        gone = f"lab {self.name!r} was taken down meanwhile"
        with folder_lock(self.paths.run, waiting=waiting, gone=gone):
            yield

    @contextmanager
    def going_up(self, shape: Shape) -> Iterator[None]:
        """Start the nodes, and take all away again if that or the body fails."""
        check_host(shape)
        release = find_release(shape.release)
        if self.exists():
            raise LabError(
                f"lab {self.name!r} is there already: tools/lab down --name {self.name}"
            )
        image = ensure_image(release)
        with self.locked():
            try:
                self._start(shape, release, image)
                yield
            except BaseException:
                with signals_ignored():
                    print(f"lab: taking lab {self.name!r} down again", flush=True)
                    self._remove()
                raise

    def _start(self, shape: Shape, release: Release, image: Path) -> None:
        layers = [ensure_extension(release), ensure_site(release), image]
        lowers = [layer for layer in layers if layer is not None]
        self.paths.state.write_text(json.dumps(asdict(shape)))
        self.network.make_switch()
        for node in self.nodes():
            self.network.plug(node.number)
            disks = [
                make_disk(self.paths.data / node.name / f"disk-{number}")
                for number in range(1, shape.disks + 1)
            ]
            node.prepare(lowers, disks, shape.nodes)
        for node in self.nodes():
            node.start()
        for node in self.nodes():
            node.wait_until_up()

    def down(self) -> bool:
        """Take the lab away, whatever is left of it; whether there was any."""
        if not self.exists():
            return False
        with self.locked(), signals_ignored():
            self._remove()
        return True

    def _remove(self) -> None:
        try:
            nodes = self.nodes()
        except (LabError, ValueError):
            nodes = [Node(self.paths, n) for n in range(1, MAX_NODES + 1)]
        for node in nodes:
            cgroups.kill_all(*node.keeper_group)
        devices: set[str] = set()
        for node in nodes:
            note_devices(node)
            devices |= noted_devices(node)
        cgroups.kill_all(self.name)
        detach(loops_on(devices))
        unmount_below(self.paths.run)
        detach(loops_below(self.paths.data))
        shutil.rmtree(self.paths.data, ignore_errors=True)
        for node in nodes:
            forget_machine(node.machine)
        cgroups.remove(self.name)
        cgroups.remove_if_unused()
        shutil.rmtree(self.paths.run)
        for top in (DATA_ROOT, RUN_ROOT):
            if top.is_dir() and not any(top.iterdir()):
                top.rmdir()

    def cut(self, node: Node) -> None:
        """Cut a node off from the network."""
        node.cut_mark.touch()
        self.network.set_port(node.number, up=False)

    def heal(self, node: Node) -> None:
        """Undo a cut."""
        node.cut_mark.unlink(missing_ok=True)
        if node.leader() is not None:
            self.network.set_port(node.number, up=True)


def check_host(shape: Shape) -> None:
    """Refuse, in one line, a host that cannot carry the lab; install what it lacks."""
    host.require_debian()
    host.require_memory(shape.nodes * NODE_MEMORY)
    host.require_disk(DATA_ROOT, shape.nodes * NODE_ROOM)
    if not cgroups.hierarchies(mounts_of()):
        raise LabError("this host has no control groups mounted below /sys/fs/cgroup")
    host.install(host.NODE_PACKAGES)


@contextmanager
def signals_ignored() -> Iterator[None]:
    """Let nobody interrupt what cleans up."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt_on_signals() -> None:
    """Turn the signals that ask for an end into an exception."""

    def interrupt(number: int, _frame: object) -> None:
        raise SignalError(signal.Signals(number))

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
