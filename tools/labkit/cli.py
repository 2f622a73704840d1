"""The lab's command line."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import host, image, sandbox
from .check import check
from .cluster import make_cluster
from .demo import demo
from .errors import LabError, SignalError
from .keeper import keep
from .lab import Lab, Shape, interrupt_on_signals
from .releases import DEFAULT_RELEASE, RELEASES

DESCRIPTION = """\
Real Ganeti and Ceph nodes on one machine: each is a systemd machine in a
container, with loop devices as disks and a network that the host does not see.
Needs root on Debian 12 or 13; installs what it lacks and builds the node image
when it runs for the first time."""


def up(args: argparse.Namespace) -> int:
    """Start the nodes and make the cluster."""
    begun = time.monotonic()
    lab = Lab(args.name)
    with lab.going_up(_shape(args)):
        if args.cluster:
            make_cluster(lab)
    seconds = time.monotonic() - begun
    print(f"lab: {lab.name!r} is up after {seconds:.0f} s; try:")
    option = "" if lab.name == "lab" else f"--name {lab.name} "
    words = "gnt-node list" if args.cluster else "bash"
    print(f"  tools/lab run {option}node1 -- {words}")
    return 0


def down(args: argparse.Namespace) -> int:
    """Take the lab away with all that it left."""
    if Lab(args.name).down():
        print(f"lab: {args.name!r} is down")
    else:
        print(f"lab: no lab {args.name!r}")
    sandbox.remove_abandoned()
    image.remove_abandoned()
    return 0


def status(args: argparse.Namespace) -> int:
    """Show the nodes."""
    lab = Lab(args.name)
    if not lab.exists():
        print(f"lab: no lab {args.name!r}")
        return 0
    shape = lab.shape()
    print(f"lab {lab.name!r}: {shape.release}, {shape.nodes} nodes")
    for node in lab.nodes():
        leader = node.leader()
        words = ["off" if leader is None else f"on, process {leader}"]
        if node.cut_mark.exists():
            words.append("cut off")
        words.append("disks: " + (" ".join(map(str, node.disks())) or "none"))
        print(f"  {node.fqdn}: {', '.join(words)}")
    return 0


def run(args: argparse.Namespace) -> int:
    """Run a command in a node, on this terminal."""
    # The keyboard's interrupts are for the command; a handler, unlike "ignore", is
    # not passed on to it.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    return Lab(args.name).node(args.node).stream(words or ["bash"])


def reboot(args: argparse.Namespace) -> int:
    """Reboot a node in an orderly way and wait until it is back."""
    lab = Lab(args.name)
    node = lab.node(args.node)
    with lab.locked():
        leader = node.leader()
        # The connection may break before the answer comes.
        node.call(["systemctl", "reboot"], timeout=30)
    # Without the lock: a master waits for other nodes, which somebody has to start.
    node.wait_until_up(but=leader)
    return 0


def kill(args: argparse.Namespace) -> int:
    """Cut a node's power: nothing in it gets a chance to do anything."""
    lab = Lab(args.name)
    node = lab.node(args.node)
    with lab.locked():
        node.cut_power()
    return 0


def start(args: argparse.Namespace) -> int:
    """Start a node that is off and wait until it is up."""
    lab = Lab(args.name)
    node = lab.node(args.node)
    with lab.locked():
        node.start()
    node.wait_until_up()
    return 0


def cut(args: argparse.Namespace) -> int:
    """Cut a node off from the network."""
    lab = Lab(args.name)
    lab.cut(lab.node(args.node))
    return 0


def heal(args: argparse.Namespace) -> int:
    """Undo a cut."""
    lab = Lab(args.name)
    lab.heal(lab.node(args.node))
    return 0


def run_demo(args: argparse.Namespace) -> int:
    """Show the extension at work, from bare nodes to a live migration."""
    return demo(Lab(args.name), _shape(args))


def run_check(args: argparse.Namespace) -> int:
    """Run all checks and tests on all releases."""
    releases = [RELEASES[args.release]] if args.release else list(RELEASES.values())
    return check(releases, args.all)


def keep_node(args: argparse.Namespace) -> int:
    """Keep a node running (the lab starts this itself)."""
    keep(Lab(args.name).node(args.node))
    return 0


def _shape(args: argparse.Namespace) -> Shape:
    return Shape(args.release or DEFAULT_RELEASE, args.nodes, args.disks)


@dataclass(frozen=True)
class Command:
    """A command of the lab and the kinds of arguments that it takes."""

    function: Callable[[argparse.Namespace], int]
    takes: frozenset[str] = frozenset()


COMMANDS = {
    "up": Command(up, frozenset({"shape", "cluster"})),
    "down": Command(down),
    "status": Command(status),
    "run": Command(run, frozenset({"node", "words"})),
    "demo": Command(run_demo, frozenset({"shape"})),
    "check": Command(run_check, frozenset({"check"})),
    "reboot": Command(reboot, frozenset({"node"})),
    "kill": Command(kill, frozenset({"node"})),
    "start": Command(start, frozenset({"node"})),
    "cut": Command(cut, frozenset({"node"})),
    "heal": Command(heal, frozenset({"node"})),
    "_keep": Command(keep_node, frozenset({"node"})),
}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        prog="tools/lab",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--name", default="lab", help="which lab (%(default)s)")
    visible = "{" + ",".join(name for name in COMMANDS if name[0] != "_") + "}"
    commands = parser.add_subparsers(dest="command", required=True, metavar=visible)
    for name, command in COMMANDS.items():
        text = (command.function.__doc__ or "").strip()
        if name.startswith("_"):
            sub = commands.add_parser(name, description=text)
        else:
            sub = commands.add_parser(name, description=text, help=text)
        _add_arguments(sub, command)
    return parser.parse_args(argv)


def _add_arguments(sub: argparse.ArgumentParser, command: Command) -> None:
    # Also before the command, and not to be forgotten if given there.
    sub.add_argument("--name", default=argparse.SUPPRESS, help="which lab")
    if {"shape", "check"} & command.takes:
        shown = DEFAULT_RELEASE if "shape" in command.takes else "all"
        sub.add_argument(
            "--release", choices=list(RELEASES), help=f"Debian release ({shown})"
        )
    if "check" in command.takes:
        sub.add_argument(
            "--all",
            action="store_true",
            help="also the slow tests, and all of them on each release",
        )
    if "shape" in command.takes:
        sub.add_argument("--nodes", type=int, default=3, help="(%(default)s)")
        sub.add_argument(
            "--disks", type=int, default=1, help="of each node (%(default)s)"
        )
    if "cluster" in command.takes:
        sub.add_argument(
            "--no-cluster",
            dest="cluster",
            action="store_false",
            help="only nodes, no gnt-cluster init",
        )
    if "node" in command.takes:
        sub.add_argument("node", metavar="NODE")
    if "words" in command.takes:
        sub.add_argument("words", metavar="COMMAND", nargs=argparse.REMAINDER)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the lab's command line; return the exit code."""
    args = parse(argv)
    interrupt_on_signals()
    try:
        host.require_root()
        return COMMANDS[args.command].function(args)
    except LabError as err:
        print(f"lab: {err}", file=sys.stderr)
        return 1
    except SignalError as err:
        number = err.args[0]
        print(f"lab: stopped by {signal.Signals(number).name}", file=sys.stderr)
        return 128 + int(number)
