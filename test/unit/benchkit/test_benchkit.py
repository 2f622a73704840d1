"""The benchmarks: what is made of the seconds, and which clusters are compared."""

import copy
import json

import pytest
from benchkit import cli, deploy, plan, start
from benchkit.deploy import COPIES, PG_NUM, faults, report
from benchkit.errors import BenchError
from benchkit.figures import Summary, summary
from benchkit.lab import Answer, require
from fakes import RELEASES, recorded

# Seconds


@pytest.mark.parametrize(
    ("seconds", "summed"),
    [
        ([7.0], Summary(7.0, 7.0, 7.0)),
        ([9.0, 1.0, 2.0], Summary(2.0, 1.0, 9.0)),
        ([4.0, 1.0, 2.0, 9.0], Summary(3.0, 1.0, 9.0)),
    ],
)
def test_runs_are_summed_up_as_median_and_extremes(seconds, summed):
    assert summary(seconds) == summed


def test_the_report_tells_both_ways_and_their_ratio():
    assert report([12.0, 10.0, 18.0], [10.0, 10.0, 12.0]).splitlines() == [
        "gnt-storage  median 12.0 s (least 10.0, most 18.0)",
        "by hand      median 10.0 s (least 10.0, most 12.0)",
        "ratio        1.20 (least 1.00, most 1.50); aim: 1.30",
    ]


def test_the_ratio_is_that_of_the_medians_and_its_extremes_those_of_the_pairs():
    line = report([1.0, 10.0], [1.0, 1.0]).splitlines()[-1]
    assert "5.50 (least 1.00, most 10.00)" in line


def test_each_run_of_one_way_has_one_of_the_other():
    with pytest.raises(ValueError):
        report([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("joined", "bare", "difference"),
    [
        (
            [0.0105],
            [0.0100],
            "10.50 ms of CPU with the extension, 10.00 ms without: +0.50",
        ),
        (
            [0.010],
            [0.012],
            "10.00 ms of CPU with the extension, 12.00 ms without: -2.00",
        ),
        ([0.01, 0.9, 0.01], [0.01] * 3, "10.00 ms without: +0.00 ms"),
    ],
)
def test_the_cost_of_a_start_is_the_difference_of_the_medians(joined, bare, difference):
    assert difference in start.report(joined, bare)


# The cluster that both ways make


class Made:
    """What ceph status and ceph osd dump say of the cluster that is wanted."""

    def __init__(self, release):
        self.status = json.loads(recorded(release, "status.json"))
        self.osds = json.loads(recorded(release, "osd-dump.json"))

    @property
    def pool(self):
        return next(
            pool for pool in self.osds["pools"] if pool["pool_name"] == deploy.POOL
        )

    def faults(self):
        return faults(self.status, self.osds)


@pytest.fixture
def made():
    return Made("trixie")


@pytest.mark.parametrize("release", RELEASES)
def test_a_cluster_that_was_made_is_what_is_wanted(release):
    assert Made(release).faults() == []


def test_looking_changes_nothing(made):
    before = copy.deepcopy((made.status, made.osds))
    made.faults()
    assert (made.status, made.osds) == before


@pytest.mark.parametrize("health", ["HEALTH_WARN", "HEALTH_ERR"])
def test_an_unhealthy_cluster_is_not(made, health):
    made.status["health"]["status"] = health
    assert made.faults() == [health]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_number_of_mons_counts(made, count):
    made.status["quorum"] = list(range(count))
    assert made.faults() == [f"{count} mons in quorum"]


@pytest.mark.parametrize(("available", "standbys"), [(True, 0), (True, 2), (False, 1)])
def test_the_number_of_mgrs_counts(made, available, standbys):
    made.status["mgrmap"].update(available=available, num_standbys=standbys)
    assert made.faults() == [f"{standbys} mgrs standing by"]


@pytest.mark.parametrize("state", ["up", "in"])
def test_every_osd_is_up_and_in(made, state):
    made.osds["osds"][1][state] = 0
    assert made.faults() == ["an OSD is not up"]


def test_the_pool_is_there(made):
    made.osds["pools"].remove(made.pool)
    assert made.faults() == [f"no pool {deploy.POOL}"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", COPIES - 1),
        ("min_size", 1),
        ("pg_num", PG_NUM // 2),
        ("application_metadata", {}),
    ],
)
def test_the_pool_is_as_wanted(made, name, value):
    made.pool[name] = value
    (fault,) = made.faults()
    assert fault.startswith(f"pool {deploy.POOL} has ")


@pytest.mark.parametrize(
    "states",
    [
        {},
        {"active+clean": PG_NUM - 1},
        {"active+clean": PG_NUM, "peering": 1},
        {"peering": PG_NUM},
    ],
)
def test_every_placement_group_is_clean(made, states):
    made.status["pgmap"]["pgs_by_state"] = [
        {"state_name": name, "count": count} for name, count in states.items()
    ]
    (fault,) = made.faults()
    assert fault.startswith("placement groups: ")


def test_all_that_differs_is_said_at_once(made):
    made.status["health"]["status"] = "HEALTH_WARN"
    made.status["quorum"] = [0]
    made.osds["pools"].clear()
    assert len(made.faults()) == 3


# Commands


def test_the_output_of_a_command_is_what_is_required():
    assert require(Answer(0, "out", "err", 1.0), "it") == "out"


def test_a_command_that_failed_is_named_with_its_last_lines():
    output = "".join(f"line {number}\n" for number in range(100))
    with pytest.raises(BenchError) as caught:
        require(Answer(3, output, "the reason\n", 1.0), "it")
    lines = str(caught.value).splitlines()
    assert lines[0] == "it: exit code 3"
    assert lines[-1] == "  the reason"
    assert len(lines) < 20


def test_planning_is_compared_node_by_node():
    taken = {
        "plan": {
            "3": {"new": 0.01, "complete": 0.02},
            "30": {"new": 0.1, "complete": 0.4},
            "150": {"new": 0.5, "complete": 0.9},
        },
        "calls": {
            "3": {"seconds": 1.1, "work": 0.1},
            "100": {"seconds": 1.9, "work": 0.8},
        },
    }
    few, middle, many, calls = plan.report(taken).splitlines()
    assert few.endswith("to 3 nodes: 1.00, 1.00")
    assert middle.endswith("to 3 nodes: 1.00, 2.00")
    assert many.endswith("(aim: 1 s; longest 0.900 s)")
    assert "1.10 s for 3, 1.90 s for 100 (aim: 3.10 s); 0.80 s of it" in calls


def test_a_line_without_an_end_is_cut():
    with pytest.raises(BenchError) as caught:
        require(Answer(1, "x" * 10000, "", 1.0), "it")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_benchmark_has_a_command_line(name):
    args = cli.parse([name, "--runs", "2", "--release", "bookworm"])
    assert (args.command, args.runs, args.release, args.keep) == (
        name,
        2,
        "bookworm",
        False,
    )


@pytest.mark.parametrize("runs", ["0", "-1", "x"])
def test_a_number_of_runs_is_at_least_one(runs, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.parse(["deploy", "--runs", runs])
    assert caught.value.code == 2
    assert "--runs" in capsys.readouterr().err
