"""The benchmarks' command line."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from .collector import collector
from .deploy import deploy
from .disk import PARTS, disk
from .errors import BenchError
from .grow import grow
from .lab import Lab
from .plan import plan
from .start import start

DESCRIPTION = """\
Measures ganeti-ceph in a lab (tools/lab).  Nothing here is a test: the exit code
is 0 whatever was measured, and 1 if something could not be."""


def run_collector(args: argparse.Namespace) -> None:
    """Measure what the collector costs, also beside ceph-mgr's own module."""
    with _lab(args, ("node1", "node2", "node3")) as lab:
        collector(lab, args.runs)


def run_deploy(args: argparse.Namespace) -> None:
    """Compare making a storage cluster, and adding a node, with scripts; time plans."""
    with _lab(args, ("node1", "node2", "node3", "node4")) as lab:
        lab.master("gnt-node", "remove", lab.nodes[-1])
        deploy(replace(lab, nodes=lab.nodes[:3]), args.runs)
        grow(lab, args.runs)
        plan(lab, args.runs)


def run_disk(args: argparse.Namespace) -> None:
    """Compare disks with librbd's own speed and with stock Ganeti's programs."""
    with _lab(args, ("node1", "node2", "node3")) as lab:
        disk(lab, args.runs, args.only)


def run_plan(args: argparse.Namespace) -> None:
    """Time planning for many nodes, and calls to them."""
    with _lab(args, ("node1",)) as lab:
        plan(lab, args.runs)


def run_start(args: argparse.Namespace) -> None:
    """Measure the start of a node's programs with the extension and without it."""
    with _lab(args, ("node1",)) as lab:
        start(lab, args.runs)


@contextmanager
def _lab(args: argparse.Namespace, nodes: tuple[str, ...]) -> Iterator[Lab]:
    lab = Lab(args.name, nodes)
    if args.use:
        yield lab
        return
    lab.up(args.release)
    try:
        yield lab
    finally:
        if not args.keep:
            lab.down()


COMMANDS = {
    "collector": run_collector,
    "deploy": run_deploy,
    "disk": run_disk,
    "plan": run_plan,
    "start": run_start,
}


def positive(text: str) -> int:
    """Return a number of runs."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def parts(text: str) -> list[str]:
    """Return the names of the disk benchmark's parts."""
    names = text.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(
            f"{unknown[0]!r} is none of {', '.join(PARTS)}"
        )
    return names


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(prog="tools/bench", description=DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in COMMANDS.items():
        text = function.__doc__ or ""
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--release", choices=("trixie", "bookworm"), default="trixie")
        sub.add_argument(
            "--runs", type=positive, default=3, help="of each way (%(default)s)"
        )
        sub.add_argument("--name", default="bench", help="of the lab (%(default)s)")
        sub.add_argument(
            "--keep", action="store_true", help="leave the lab up at the end"
        )
        sub.add_argument(
            "--use",
            action="store_true",
            help="the lab is up already, and stays up (--release is not looked at)",
        )
        if name == "disk":
            sub.add_argument(
                "--only",
                type=parts,
                default=list(PARTS),
                metavar="PART,...",
                help=f"some of the parts {', '.join(PARTS)}",
            )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks' command line; return the exit code."""
    args = parse(argv)
    try:
        COMMANDS[args.command](args)
    except BenchError as err:
        print(f"bench: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    return 0
