"""gnt-storage's commands: what they make of a command line."""

import pytest
from ganeti import cli, constants
from ganeti import errors as ganeti_errors

from ganeti_ceph.cli import storage
from ganeti_ceph.jobs import command, dispatch

NAME = "init-distributed-storage"


@pytest.fixture
def commands():
    commands = {"diagnose": "as it was"}
    storage.extend_commands(commands)
    return commands


@pytest.fixture
def run(commands, options, queue):
    """Run the command with words of a command line."""

    def run(*words):
        opts, args = options(commands, NAME, *words)
        return commands[NAME][0](opts, args)

    return run


def test_ganetis_own_commands_stay(commands):
    assert commands.pop("diagnose") == "as it was"
    # The one that only shows needs no job.
    assert set(commands) - {"status"} <= set(dispatch.OPERATIONS)


def test_type_and_group_reach_the_job(run, queue):
    assert run("-s", "ceph", "my group") == 0
    assert command.parse(queue.op.command) == (
        NAME,
        {"storage_type": "ceph", "node_group": "my group"},
    )


def test_ceph_is_what_is_made_if_nothing_is_said(run, queue):
    run("default")
    assert "--storage-type=ceph" in queue.op.command


def test_another_type_is_for_the_job_to_refuse(run, queue):
    run("-s", "gluster", "default")
    assert "--storage-type=gluster" in queue.op.command


def test_each_line_of_the_result_is_printed(run, queue, capsys):
    queue.result = [(True, "* mons"), (True, "100% of %s")]
    run("default")
    assert capsys.readouterr().out == "* mons\n100% of %s\n"


@pytest.mark.parametrize(("words", "dry_run"), [((), False), (("--dry-run",), True)])
def test_a_dry_run_is_one(run, queue, words, dry_run):
    run(*words, "default")
    assert bool(queue.op.dry_run) is dry_run


def test_the_priority_reaches_the_job(run, queue):
    run("--priority", "high", "default")
    assert queue.op.priority == constants.OP_PRIO_HIGH


def test_with_submit_nobody_waits(run, queue, capsys):
    with pytest.raises(ganeti_errors.JobSubmittedException):
        run("--submit", "default")
    assert queue.op.OP_ID == "OP_RESTRICTED_COMMAND"
    assert capsys.readouterr().out == ""


def test_exactly_one_group_is_taken(commands):
    (argument,) = commands[NAME][1]
    assert isinstance(argument, cli.ArgGroup)
    assert (argument.min, argument.max) == (1, 1)


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        ((), {"nodes": ""}),
        (("node1", "node2"), {"nodes": "node1,node2"}),
        (("--archive-crashes",), {"nodes": "", "archive_crashes": "yes"}),
    ],
)
def test_what_is_to_be_repaired_reaches_the_job(commands, options, queue, words, sent):
    opts, args = options(commands, "repair", *words)
    assert commands["repair"][0](opts, args) == 0
    assert command.parse(queue.op.command) == ("repair", sent)
