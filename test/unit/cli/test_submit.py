"""Submitting an operation: what the job is told, and what comes back of it."""

import pytest
from ganeti import cli
from ganeti import errors as ganeti_errors

from ganeti_ceph import errors, params
from ganeti_ceph.cli.submit import as_ganeti_error, submit
from ganeti_ceph.jobs import command


@pytest.fixture
def opts(options):
    """The options of a command that was called without any."""
    return options({"do": (None, [], cli.SUBMIT_OPTS)}, "do")[0]


def test_the_operation_travels_in_a_stock_opcode(opts, queue):
    submit(opts, "do-it", node_group="a b")
    assert queue.op.OP_ID == "OP_RESTRICTED_COMMAND"
    assert command.parse(queue.op.command) == ("do-it", {"node_group": "a b"})


def test_no_node_runs_a_command_for_it(opts, queue):
    submit(opts, "do-it")
    assert (queue.op.nodes, queue.op.use_locking) == ([], False)


def test_the_opcode_is_one_that_ganeti_takes(opts, queue):
    submit(opts, "do-it", parameters="ceph:disk=/dev/sdb")
    queue.op.Validate(True)


def test_the_lines_of_the_result_come_back(opts, queue):
    queue.result = [(True, "one"), (True, "two")]
    assert submit(opts, "do-it") == ["one", "two"]


def test_a_job_without_a_result_gives_no_lines(opts, queue):
    queue.result = None
    assert submit(opts, "do-it") == []


def test_the_errors_of_the_job_are_passed_on(opts, queue):
    queue.result = ganeti_errors.OpExecError("no luck")
    with pytest.raises(ganeti_errors.OpExecError, match="no luck"):
        submit(opts, "do-it")


@pytest.mark.parametrize(
    ("ours", "code"),
    [
        (errors.UsageError("so"), ganeti_errors.ECODE_INVAL),
        (params.ParameterError("so", "x", 0), ganeti_errors.ECODE_INVAL),
        (errors.PrereqError("so"), ganeti_errors.ECODE_STATE),
    ],
)
def test_our_errors_are_printed_as_ganetis(ours, code):
    error = as_ganeti_error(ours)
    assert type(error) is ganeti_errors.OpPrereqError
    assert error.args == (str(ours), code)
