"""The disks' benchmark: command lines, what programs say, tables, its options."""

import re

import pytest
from benchkit import cli, disk_io
from benchkit.disk_defaults import discard_seconds
from benchkit.errors import BenchError
from benchkit.figures import Table, ratios
from benchkit.lab import _DATA
from benchkit.programs import KIB, Work, guest_rates, qemu_bench, rbd_bench

READ = Work("read", 4 * KIB, 16, 8000, True)
WRITE = Work("write", 1024 * KIB, 4, 128, False)

# Command lines


def test_rbd_bench_moves_what_the_work_says():
    assert rbd_bench("rbd/a", READ, cache=False) == [
        "rbd",
        "bench",
        "--rbd_cache=false",
        "--io-type=read",
        "--io-size=4096",
        "--io-threads=16",
        f"--io-total={4096 * 8000}",
        "--io-pattern=rand",
        "rbd/a",
    ]


def test_rbd_bench_goes_through_the_image_in_one_row_and_can_have_a_cache():
    words = rbd_bench("rbd/a", WRITE, cache=True)
    assert {"--rbd_cache=true", "--io-pattern=full-seq"} < set(words)


def test_the_pattern_of_rbd_bench_can_be_another():
    assert "--io-pattern=seq" in rbd_bench("rbd/a", READ, False, "seq")


def test_qemu_moves_as_much():
    words = qemu_bench("rbd:rbd/a", WRITE, "none")
    options = dict(zip(words[2:-1:2], words[3:-1:2], strict=False))
    assert (options["-c"], options["-d"], options["-s"]) == ("128", "4", "1048576")
    assert "-w" in words
    assert "-S" not in words
    assert words[-1] == "rbd:rbd/a"


def test_qemu_reads_with_the_wanted_cache_and_aio():
    words = qemu_bench("/dev/loop1", READ, "writeback", "io_uring")
    assert words[words.index("-t") + 1] == "writeback"
    assert words[words.index("-i") + 1] == "io_uring"
    assert "-w" not in words


def test_without_a_word_qemu_chooses_the_aio():
    assert "-i" not in qemu_bench("rbd:rbd/a", READ, "none")


@pytest.mark.parametrize("work", [work for work in disk_io.WORKS if work.random])
def test_random_steps_of_qemu_reach_every_block_of_the_image(work):
    words = qemu_bench("rbd:rbd/a", work, "none")
    step = int(words[words.index("-S") + 1])
    reached = {
        number * step % disk_io.SIZE for number in range(disk_io.SIZE // work.size)
    }
    assert len(reached) == disk_io.SIZE // work.size


@pytest.mark.parametrize(
    ("work", "title"),
    [
        (READ, "random reads of 4 KiB, 16 at a time"),
        (WRITE, "sequential writes of 1024 KiB, 4 at a time"),
    ],
)
def test_a_work_has_a_title(work, title):
    assert work.title == title


# What a guest and QEMU say

SAID = """\
[    1.02] something of the kernel
RESULT vda read4k1 500 250
RESULT vdb read4k1 500 0
RESULT vda write1m 32 64
"""


def test_a_guest_tells_rates():
    assert guest_rates(SAID, 3) == {
        ("vda", "read4k1"): 200.0,
        # Below what its clock can tell.
        ("vdb", "read4k1"): 50000.0,
        ("vda", "write1m"): 50.0,
    }


def test_a_guest_that_ended_early_is_no_result():
    with pytest.raises(BenchError, match="3 of 4 results"):
        guest_rates(SAID, 4)


def test_the_guest_does_the_work_that_rbd_bench_is_given():
    text = (_DATA / "guest-init").read_text()
    lines = re.findall(r"^work +(\w+) +(\w+) +(\d+) +(\d+) +(\d+)$", text, re.MULTILINE)
    assert {
        name: (verb, int(kib) * KIB, int(streams), int(count))
        for name, verb, kib, count, streams in lines
    } == {
        name: (work.verb, work.size, work.depth, work.count)
        for name, work in disk_io.GUEST_WORKS.items()
    }


@pytest.mark.parametrize("work", disk_io.GUEST_WORKS.values())
def test_the_guests_streams_have_the_same_share(work):
    assert work.count % work.depth == 0


# As QEMU 10 prints it, and QEMU 7.2 the same.
QEMU_IO = """\
wrote 67108864/67108864 bytes at offset 0
64 MiB, 1 ops; 00.87 sec (73.149 MiB/sec and 1.1430 ops/sec)
discard 67108864/67108864 bytes at offset 0
64 MiB, 1 ops; 00.20 sec (326.931 MiB/sec and 5.1083 ops/sec)
"""


def test_the_time_of_a_discard_is_not_that_of_the_write_before():
    assert discard_seconds(QEMU_IO) == 0.2


@pytest.mark.parametrize("output", ["", QEMU_IO.partition("discard")[0]])
def test_output_without_a_discard_is_an_error(output):
    with pytest.raises(BenchError, match="qemu-io"):
        discard_seconds(output)


# Tables


def test_a_ratio_is_one_of_a_run():
    assert ratios([1.0, 10.0], [2.0, 5.0]) == [0.5, 2.0]
    with pytest.raises(ValueError):
        ratios([1.0], [1.0, 2.0])


def test_a_table_shows_each_way_and_below_it_its_ratios():
    table = Table("starts", "s", 1)
    for one, many in ((2.0, 8.0), (4.0, 8.0), (1.0, 9.0)):
        table.add("one", one)
        table.add("many", many)
    table.compare("many", "one")
    assert [line.split() for line in table.text().splitlines()] == [
        ["starts", "(s)", "median", "least", "most"],
        ["one", "2.0", "1.0", "4.0"],
        ["many", "8.0", "8.0", "9.0"],
        # The runs' own: 4, 2 and 9, not 8 by 2.
        ["ratio", "to", "one", "4.00", "2.00", "9.00"],
    ]


def test_a_small_ratio_is_not_shown_as_nothing():
    table = Table("verify", "s", 1)
    table.add("ours", 0.2)
    table.add("theirs", 500.0)
    table.compare("ours", "theirs")
    assert "0.0004" in table.text()


def test_the_columns_of_a_table_stand_below_each_other():
    table = Table("x", "requests/s")
    table.add("a way with a name of some length", 12345.0)
    table.add("b", 1.0)
    table.compare("b", "a way with a name of some length")
    assert len({len(line) for line in table.text().splitlines()}) == 1


# Options


def test_all_parts_are_measured_unless_some_are_named():
    assert cli.parse(["disk"]).only == list(cli.PARTS)
    assert cli.parse(["disk", "--only", "verify,io"]).only == ["verify", "io"]


def test_an_unknown_part_is_refused_by_name(capsys):
    with pytest.raises(SystemExit):
        cli.parse(["disk", "--only", "io,nothing"])
    assert "'nothing' is none of io," in capsys.readouterr().err


@pytest.mark.parametrize("keep", [False, True])
def test_a_lab_that_runs_already_is_neither_made_nor_taken_away(monkeypatch, keep):
    done = []
    monkeypatch.setattr(cli.Lab, "up", lambda lab, release: done.append("up"))
    monkeypatch.setattr(cli.Lab, "down", lambda lab: done.append("down"))
    monkeypatch.setattr(cli, "disk", lambda lab, runs, only: done.append(lab.name))
    words = ["disk", "--use", "--name", "mine", *(["--keep"] if keep else [])]
    assert cli.main(words) == 0
    assert done == ["mine"]


@pytest.mark.parametrize("keep", [False, True])
def test_a_lab_of_its_own_is_kept_only_if_asked_for(monkeypatch, keep):
    done = []
    monkeypatch.setattr(cli.Lab, "up", lambda lab, release: done.append(release))
    monkeypatch.setattr(cli.Lab, "down", lambda lab: done.append("down"))
    monkeypatch.setattr(cli, "disk", lambda lab, runs, only: None)
    words = ["disk", "--release", "bookworm", *(["--keep"] if keep else [])]
    assert cli.main(words) == 0
    assert done == (["bookworm"] if keep else ["bookworm", "down"])
