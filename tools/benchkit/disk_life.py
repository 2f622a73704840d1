"""How long disks and instances take to be made, copied, removed, started, verified."""

import json
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from .errors import BenchError
from .figures import Table
from .lab import Answer, Lab, require

POOL = "rbd"
#: MiB of a disk.
SIZE = 1024
TURNS = 3
#: Instances that start at once.
MANY = 10
#: Instances and their disks that are verified.
VERIFIED = 100
EACH = 8
#: Disks for which the stock programs are run.
SAMPLE = 10
#: What verifying all disks should not exceed, in seconds; nothing fails if it does.
AIM = 10.0

OURS = "with the extension"
STOCK = "the rbd program"


def measure_life(lab: Lab, runs: int) -> None:
    """Compare making, copying, removing and cloning a disk with the rbd program."""
    titles = {
        "create": "make a disk",
        "copy": "copy a disk's content (64 MiB in it)",
        "remove": "remove the copy",
        "clone": "clone a disk (64 MiB in it)",
    }
    tables = {work: Table(f"{title}, 1 GiB", "s", 3) for work, title in titles.items()}
    jobs = Table("gnt-instance add and remove, one disk of 1 GiB", "s", 1)
    for number in range(1, runs + 1):
        answer = _disks(lab, "life", POOL, str(SIZE), str(TURNS))
        for work, ways in json.loads(answer).items():
            tables[work].add(OURS, statistics.median(ways["extension"]))
            tables[work].add(STOCK, statistics.median(ways["rbd"]))
        for template, options in _TEMPLATES.items():
            add, remove = _add_and_remove(lab, options)
            jobs.add(f"add, {template}", add)
            jobs.add(f"remove, {template}", remove)
        print(f"run {number}: done", flush=True)
    for table in tables.values():
        table.compare(OURS, STOCK)
    rbd, diskless = _TEMPLATES
    for verb in ("add", "remove"):
        jobs.compare(f"{verb}, {rbd}", f"{verb}, {diskless}")
    print(
        "What the node daemon does for a disk, against the programs that stock Ganeti\n"
        f"runs for it, without mapping, which comes on top (medians of {TURNS} turns):"
    )
    print("\n".join(table.text() for table in tables.values()))
    print("Whole commands, against an instance without a disk:")
    print(jobs.text())


_TEMPLATES = {
    "-t rbd": ("-t", "rbd", "--disk", "0:size=1G"),
    "-t diskless": ("-t", "diskless"),
}


def _add_and_remove(lab: Lab, options: tuple[str, ...]) -> tuple[float, float]:
    add = lab.timed(*_add(lab, 0, options))
    return add, lab.timed("gnt-instance", "remove", "-f", _name(0))


def measure_start(lab: Lab, runs: int) -> None:
    """Time the start of ten instances at once, against that of one."""
    table = Table("gnt-instance startup until all run", "s", 1)
    one, many = "1 instance", f"{MANY} instances"
    with _instances(lab):
        for number in range(1, runs + 1):
            for title, count in ((one, 1), (many, MANY)):
                names = [_name(index) for index in range(count)]
                startup = ("gnt-instance", "startup", "--force-multiple")
                table.add(title, lab.timed(*startup, *names))
                running = lab.master(*_LIST).split().count("running")
                if running != count:
                    raise BenchError(f"{running} of {count} instances run")
                stop = ("shutdown", "--force-multiple", "--timeout=0")
                lab.master("gnt-instance", *stop, *names)
            print(f"run {number}: done", flush=True)
    table.compare(many, one)
    print(f"Guests of 128 MiB with a disk, on {len(lab.nodes)} nodes:")
    print(table.text())


_LIST = ("gnt-instance", "list", "--no-headers", "-o", "status")


@contextmanager
def _instances(lab: Lab) -> Iterator[None]:
    try:
        _at_once(lambda index: lab.master(*_add(lab, index, _TEMPLATES["-t rbd"])))
        yield
    finally:
        remove = ("gnt-instance", "remove", "-f", "--shutdown-timeout=0")
        _at_once(lambda index: lab.run(lab.nodes[0], *remove, _name(index)))


def _at_once(act: Callable[[int], object]) -> None:
    with ThreadPoolExecutor(MANY) as threads:
        list(threads.map(act, range(MANY)))


def _name(index: int) -> str:
    return f"bench{index}.lab.example"


def _add(lab: Lab, index: int, options: tuple[str, ...]) -> list[str]:
    words = ["gnt-instance", "add", "-o", "lab-guest", "-B", "memory=128M"]
    words += ["--no-install", "--no-start", "--no-ip-check", "--no-name-check"]
    words += ["-n", lab.nodes[index % len(lab.nodes)], *options]
    return [*words, _name(index)]


def measure_verify(lab: Lab, runs: int) -> None:
    """Time what looks after 800 disks: the node daemon's call, and the command."""
    count = VERIFIED * EACH
    call = Table(f"the state of {count} disks on one node", "s", 2)
    command = Table("the whole commands", "s", 1)
    none, all_disks = "no disks", f"{VERIFIED} instances, {count} disks"
    stock = f"stock's programs, {count} %s disks (by {SAMPLE})"
    _disks(lab, "make", POOL, str(SIZE), str(count), "bench.v")
    try:
        for number in range(1, runs + 1):
            taken = json.loads(_disks(lab, "verify", POOL, str(count), str(SAMPLE)))
            call.add(OURS, taken["extension"])
            for kind in ("mapped", "unmapped"):
                call.add(stock % kind, statistics.mean(taken[kind]) * count)
            for title, seconds in _verify(lab).items():
                command.add(f"{title}, {none}", seconds)
            with _multiplied(lab):
                for title, seconds in _verify(lab).items():
                    command.add(f"{title}, {all_disks}", seconds)
            print(f"run {number}: done", flush=True)
    finally:
        _disks(lab, "drop", POOL, str(count), "bench.v")
    for kind in ("mapped", "unmapped"):
        call.compare(OURS, stock % kind)
    print(
        "Stock Ganeti runs 'rbd showmapped' for each disk, and, if it is not mapped,\n"
        "'rbd map' and 'rbd showmapped' again; 'rbd info' stands for mapping here:"
    )
    print(call.text())
    print(command.text())
    print(f"aim for {count} disks: {AIM:.0f} s")


def _verify(lab: Lab) -> dict[str, float]:
    # It fails for what has nothing to do with disks, too: a lab is no real cluster.
    answer = lab.run(lab.nodes[0], "gnt-cluster", "verify", "--error-codes")
    if answer.code not in (0, 1) or "ERROR:EINSTANCE" in answer.output:
        require(Answer(1, answer.output, answer.errors, 0), "gnt-cluster verify")
    verify_disks = ("gnt-cluster", "verify-disks")
    return {
        "gnt-cluster verify": answer.seconds,
        " ".join(verify_disks): lab.timed(*verify_disks),
    }


@contextmanager
def _multiplied(lab: Lab) -> Iterator[None]:
    sizes = [word for index in range(EACH) for word in ("--disk", f"{index}:size=1G")]
    lab.master(*_add(lab, 0, ("-t", "rbd", *sizes)))
    node = lab.nodes[0]
    words = ("multiply", _name(0), str(VERIFIED), "bench.v")
    try:
        answer = lab.script(node, "instances.py", *words, program="python3")
        require(answer, "instances.py")
        yield
    finally:
        answer = lab.script(node, "instances.py", "restore", program="python3")
        require(answer, "instances.py restore")
        lab.master("gnt-instance", "remove", "-f", _name(0))


def _disks(lab: Lab, *words: str) -> str:
    answer = lab.script(lab.nodes[0], "disks.py", *words, program="python3")
    return require(answer, f"disks.py {words[0]}")
