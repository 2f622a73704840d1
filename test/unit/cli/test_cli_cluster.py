"""gnt-cluster: when it reads -S, changes parameters, shows them and complains."""

import pytest
from ganeti import errors as ganeti_errors
from ganeti.client import gnt_cluster

from ganeti_ceph.cli import cluster
from ganeti_ceph.jobs import command
from ganeti_ceph.joins import fit
from ganeti_ceph.joins.apply import Refusal

GOOD = "ceph:disk=/dev/sdb,pool-size=2"
TAGS = ["ceph:disk:/dev/sdb", "ceph:pool-size:2"]
BAD = ["ceph:colour=blue", "ceph:pool-size=1,pool-min-size=2", "disk=/dev/sdb"]


class Program:
    """gnt-cluster with our joins, over stock commands that only take notes."""

    def __init__(self, queue, options):
        self.queue = queue
        self.options = options
        #: What the stock commands end with.
        self.code = 0
        self.commands = {
            name: (self._stock(name), *gnt_cluster.commands[name][1:])
            for name in ("init", "modify", "info", "verify", "destroy")
        }
        cluster.extend_commands(self.commands)

    def _stock(self, name):
        def stock(opts, args):
            self.queue.events.append(f"stock {name}")
            return self.code

        return stock

    def __call__(self, name, *words):
        opts, args = self.options(self.commands, name, *words)
        return self.commands[name][0](opts, args)

    def refusal(self, *words):
        """Run a command that must refuse before anything happens."""
        with pytest.raises(ganeti_errors.OpPrereqError) as caught:
            self(*words)
        assert self.queue.events == []
        return caught.value.args


@pytest.fixture
def run(queue, options):
    return Program(queue, options)


# Joining


def test_the_other_commands_are_left_alone(run):
    stock = gnt_cluster.commands["destroy"]
    assert run.commands["destroy"][1:] == stock[1:]
    assert run("destroy") == 0
    assert run.queue.events == ["stock destroy"]


@pytest.mark.parametrize(
    ("name", "takes"),
    [("init", True), ("modify", True), ("info", False), ("verify", False)],
)
def test_init_and_modify_take_the_option(run, name, takes):
    assert (cluster.STORAGE_PARAMETERS_OPT in run.commands[name][2]) is takes


@pytest.mark.parametrize("name", ["init", "modify", "info", "verify"])
def test_arguments_and_texts_stay_ganetis(run, name):
    joined, stock = run.commands[name], gnt_cluster.commands[name]
    assert (joined[1], *joined[3:]) == (stock[1], *stock[3:])


def test_ganetis_own_lists_of_options_are_not_changed(run):
    for name in ("init", "modify"):
        options = gnt_cluster.commands[name][2]
        assert cluster.STORAGE_PARAMETERS_OPT not in options


# init


@pytest.mark.parametrize("code", [0, 1])
def test_init_without_the_option_is_ganetis(run, code):
    run.code = code
    assert run("init", "name") == code
    assert run.queue.events == ["stock init"]


@pytest.mark.parametrize("text", BAD)
def test_no_cluster_is_made_with_parameters_that_are_wrong(run, text):
    _, code = run.refusal("init", "-S", text, "name")
    assert code == ganeti_errors.ECODE_INVAL


def test_the_parameters_become_tags_once_the_cluster_is_made(run):
    assert run("init", "-S", GOOD, "name") == 0
    stock, op = run.queue.events
    assert stock == "stock init"
    assert (op.OP_ID, op.kind, op.tags) == ("OP_TAGS_SET", "cluster", TAGS)


def test_the_job_that_sets_them_is_one_that_ganeti_takes(run):
    run("init", "-S", GOOD, "name")
    run.queue.events[1].Validate(True)


def test_a_cluster_that_could_not_be_made_gets_no_tags(run):
    run.code = 1
    assert run("init", "-S", GOOD, "name") == 1
    assert run.queue.events == ["stock init"]


def test_the_defaults_need_no_tags(run):
    assert run("init", "-S", "ceph:pool-size=3", "name") == 0
    assert run.queue.events == ["stock init"]


# modify


def test_modify_without_the_option_is_ganetis(run):
    assert run("modify", "--candidate-pool-size=3") == 0
    assert run.queue.events == ["stock modify"]


def test_parameters_alone_are_all_that_is_modified(run):
    assert run("modify", "-S", GOOD) == 0
    assert command.parse(run.queue.op.command) == (
        "modify-storage-parameters",
        {"parameters": GOOD},
    )


@pytest.mark.parametrize(
    "how", ["--force", "--dry-run", "--priority=high", "--print-jobid"]
)
def test_how_it_is_done_is_nothing_to_modify(run, how):
    assert run("modify", how, "-S", GOOD) == 0
    assert "stock modify" not in run.queue.events


@pytest.mark.parametrize(
    "other",
    [
        "--candidate-pool-size=3",
        "--candidate-pool-size=0",
        "--maintain-node-health=no",
        "--master-netdev=eth1",
        "-Hkvm:acpi=yes",
        "--enabled-disk-templates=rbd",
        "-Drbd:pool=rbd",
    ],
)
def test_what_else_is_asked_for_is_modified_afterwards(run, other):
    run.code = 5
    assert run("modify", "-S", GOOD, other) == 5
    op, stock = run.queue.events
    assert (op.OP_ID, stock) == ("OP_RESTRICTED_COMMAND", "stock modify")


def test_what_is_asked_for_twice_counts_as_well(run):
    run("modify", "-S", GOOD, "-Hkvm:acpi=yes", "-Hxen-pvm:use_bootloader=yes")
    assert run.queue.events[1] == "stock modify"


def test_what_else_is_asked_for_waits_for_the_parameters(run):
    run.queue.result = ganeti_errors.OpPrereqError("so", ganeti_errors.ECODE_STATE)
    with pytest.raises(ganeti_errors.OpPrereqError):
        run("modify", "-S", GOOD, "--candidate-pool-size=3")
    assert "stock modify" not in run.queue.events


@pytest.mark.parametrize("text", ["ceph:colour=blue", "disk=/dev/sdb", ""])
def test_parameters_that_are_wrong_change_nothing(run, text):
    run.refusal("modify", "-S", text, "--candidate-pool-size=3")


@pytest.mark.parametrize("how", ["--submit", "--dry-run"])
def test_two_jobs_cannot_be_submitted_or_tried_as_one(run, how):
    text, code = run.refusal("modify", how, "-S", GOOD, "--candidate-pool-size=3")
    assert "-S alone" in text
    assert code == ganeti_errors.ECODE_INVAL


def test_with_submit_nobody_waits(run):
    with pytest.raises(ganeti_errors.JobSubmittedException):
        run("modify", "--submit", "-S", GOOD)


def test_what_was_done_is_printed(run, capsys):
    run.queue.result = [(True, "100% changed")]
    run("modify", "-S", GOOD)
    assert capsys.readouterr().out == "100% changed\n"


# info


@pytest.fixture
def tags(monkeypatch):
    """The cluster's tags."""
    tags = []

    class Client:
        def QueryClusterInfo(self):
            return {"tags": tags}

    monkeypatch.setattr(cluster.cli, "GetClient", Client)
    return tags


def test_info_shows_the_parameters_after_the_cluster(run, tags, capsys):
    tags += [*TAGS, "mine"]
    assert run("info") == 0
    shown = capsys.readouterr().out
    assert "Storage parameters" in shown
    assert "/dev/sdb" in shown
    assert "mine" not in shown


def test_a_tag_that_cannot_be_read_is_named_and_the_rest_is_shown(run, tags, capsys):
    tags.append("ceph:colour:blue")
    assert run("info") == 0
    shown = capsys.readouterr().out
    assert "unreadable" in shown
    assert "ceph:colour:blue" in shown


def test_where_ganeti_shows_nothing_neither_do_we(run, capsys):
    run.code = 1
    assert run("info") == 1
    assert capsys.readouterr().out == ""


# verify


@pytest.fixture
def misfits(monkeypatch):
    """The places on this node where a join does not fit."""
    places = []
    monkeypatch.setattr(
        fit, "refusals", lambda modules: tuple(Refusal(*one) for one in places)
    )
    return places


@pytest.mark.parametrize("code", [0, 1])
def test_verify_ends_as_ganetis_where_all_fits(run, misfits, capsys, code):
    run.code = code
    assert run("verify") == code
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "place",
    [
        "ganeti.cmdlib.cluster.verify.LUClusterVerifyConfig.Exec",
        "ganeti.server.noded.NodeRequestHandler",
    ],
)
def test_what_the_job_cannot_say_is_said_here(run, misfits, capsys, place):
    misfits.append((place, "there is none"))
    assert run("verify") == 1
    assert f"not joined to {place}: there is none" in capsys.readouterr().err


def test_what_the_job_says_is_not_said_twice(run, misfits, capsys):
    misfits.append(("ganeti.mcpu.Processor.DISPATCH_TABLE", "there is none"))
    assert run("verify") == 0
    assert capsys.readouterr().err == ""


def test_ganetis_own_exit_code_is_kept(run, misfits):
    run.code = 7
    misfits.append(("ganeti.server.noded.NodeRequestHandler", "so"))
    assert run("verify") == 7
