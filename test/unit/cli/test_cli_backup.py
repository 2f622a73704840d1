"""gnt-backup export: with --config-only by a job of ours, else as ever."""

import pytest
from ganeti import errors
from ganeti.client import gnt_backup

from ganeti_ceph.cli import backup
from ganeti_ceph.jobs import command


@pytest.fixture
def export(queue, options):
    commands = {"export": gnt_backup.commands["export"]}
    backup.extend_commands(commands)

    def run(*words):
        return commands["export"][0](*options(commands, "export", *words, "web"))

    return run


def test_an_export_with_data_is_ganetis(export, queue):
    assert export("-n", "node2") == 0
    assert (queue.op.OP_ID, queue.op.instance_name) == ("OP_BACKUP_EXPORT", "web")


def test_one_without_is_ours(export, queue, capsys):
    queue.result = [(True, "node2 has it")]
    assert export("--config-only", "-n", "node2") == 0
    assert command.parse(queue.op.command) == (
        "export-config",
        {"instance": "web", "node": "node2"},
    )
    assert capsys.readouterr().out == "node2 has it\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-n", "node2", "--remove-instance"], "leave out --remove-instance"),
        (["-n", "node2", "--zero-free-space"], "leave out --zero-free-space"),
        (["-n", "node2", "--long-sleep"], "leave out --long-sleep"),
        ([], "Target node must be specified"),
    ],
)
def test_what_makes_no_sense_with_it_is_refused(export, queue, words, said):
    with pytest.raises(errors.OpPrereqError, match=said):
        export("--config-only", *words)
    assert queue.events == []
