"""gnt-storage trash: what reaches the job, what is refused, and the table."""

import json

import pytest
from ganeti import constants
from ganeti import errors as ganeti_errors

from ganeti_ceph import wire
from ganeti_ceph.cli import storage
from ganeti_ceph.disk.uri import Place
from ganeti_ceph.facts import TrashedImage
from ganeti_ceph.jobs import command
from ganeti_ceph.jobs.trash import ACTIONS

WEB = TrashedImage(
    Place("vms"), "0a", "web.disk0", 3 * 2**30, "web:0", "one", 1700000000, 1700000060
)
HALF = TrashedImage(
    Place("vms", "blue"), "0b", "half", None, "", "", 1700000000, 1700000060
)
HEADINGS = ["Pool", "ID", "Image", "Size", "Instance:Disk", "Removed", "KeptUntil"]


@pytest.fixture
def commands():
    commands = {}
    storage.extend_commands(commands)
    return commands


@pytest.fixture
def run(commands, options, queue):
    """Run the command with words of a command line."""

    def run(*words):
        opts, args = options(commands, "trash", *words)
        return commands["trash"][0](opts, args)

    return run


@pytest.fixture
def full(queue):
    """Let the trash hold two images."""
    queue.result = [(True, json.dumps([wire.encode(WEB), wire.encode(HALF)]))]


def sent(queue):
    """Return what the job was asked to do."""
    name, given = command.parse(queue.op.command)
    assert name == "trash"
    return given


def asked(**changes):
    return {"action": "list", "images": "", "name": "", "force": "no", **changes}


# What reaches the job


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        (["list"], {}),
        (["purge"], {"action": "purge"}),
        (["purge", "0a", "vms/0b"], {"action": "purge", "images": "0a,vms/0b"}),
        (["restore", "0a"], {"action": "restore", "images": "0a"}),
        (
            ["--name", "new name", "restore", "0a"],
            {"action": "restore", "images": "0a", "name": "new name"},
        ),
        (
            ["--force", "purge", "0a"],
            {"action": "purge", "images": "0a", "force": "yes"},
        ),
        (["-f", "--all", "purge"], {"action": "purge", "force": "yes"}),
    ],
)
def test_what_is_asked_for_reaches_the_job(run, queue, words, changes):
    queue.result = [(True, "[]")]
    assert run(*words) == 0
    assert sent(queue) == asked(**changes)


def test_the_actions_are_those_of_the_job(commands, run, queue):
    action, _ = commands["trash"][1]
    assert tuple(action.choices) == ACTIONS
    queue.result = [(True, "[]")]
    for word in ACTIONS:
        run(word)
    assert len(queue.events) == len(ACTIONS)


def test_the_priority_reaches_the_job(run, queue):
    run("--priority", "low", "purge")
    assert queue.op.priority == constants.OP_PRIO_LOW


def test_with_submit_nobody_waits(run, queue, capsys):
    with pytest.raises(ganeti_errors.JobSubmittedException):
        run("--submit", "purge")
    assert sent(queue)["action"] == "purge"
    assert capsys.readouterr().out == ""


# What is refused


def refusal(run, queue, *words):
    with pytest.raises(ganeti_errors.OpPrereqError) as caught:
        run(*words)
    assert queue.events == []
    text, code = caught.value.args
    assert code == ganeti_errors.ECODE_INVAL
    return text


def test_all_images_are_not_deleted_before_their_time_by_mistake(run, queue):
    text = refusal(run, queue, "--force", "purge")
    assert "name them, or give --all" in text


@pytest.mark.parametrize(
    "words", [["--all", "purge"], ["--force", "list"], ["--force", "restore", "0a"]]
)
def test_force_is_only_dangerous_with_purge(run, queue, words):
    queue.result = [(True, "[]")]
    assert run(*words) == 0


@pytest.mark.parametrize("action", ["empty", "lists", ""])
def test_an_action_that_there_is_not_is_named(run, queue, action):
    text = refusal(run, queue, action)
    assert text == f"unknown action '{action}', use list, restore or purge"


@pytest.mark.parametrize("word", ["--force", "-f", "--no-headers"])
def test_an_option_after_the_action_is_not_taken_for_an_image(queue, commands, word):
    # Ganeti's parser stops at the first word that is no option.
    text = refusal(commands["trash"][0], queue, None, ["purge", word])
    assert text == ("options go before 'purge': gnt-storage trash [options] purge ...")


# What is printed


def table(capsys):
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_the_trash_is_a_table(run, full, capsys):
    run("list")
    head, web, half = table(capsys)
    assert head == HEADINGS
    assert web[:5] == ["vms", "0a", "web.disk0", "3.0G", "web:0"]
    assert half[:5] == ["vms/blue", "0b", "half", "-", "-"]


def test_sizes_may_be_wanted_in_mebibytes(run, full, capsys):
    run("--units", "m", "list")
    assert table(capsys)[1][3] == "3072"


def test_the_moments_are_the_node_s_own(run, full, capsys):
    run("--no-headers", "--separator=|", "list")
    first = capsys.readouterr().out.splitlines()[0].split("|")
    moments = [storage.utils.FormatTime(one) for one in (1700000000, 1700000060)]
    assert first[-2:] == moments


def test_the_table_may_be_for_a_program(run, full, capsys):
    run("--no-headers", "--separator=|", "--units=m", "list")
    first, second = (
        line.split("|")[:5] for line in capsys.readouterr().out.splitlines()
    )
    assert first == ["vms", "0a", "web.disk0", "3072", "web:0"]
    assert second == ["vms/blue", "0b", "half", "-", "-"]


def test_an_empty_trash_is_an_empty_table(run, queue, capsys):
    queue.result = [(True, "[]")]
    run("list")
    assert table(capsys) == [HEADINGS]


@pytest.mark.parametrize("words", [["restore", "0a"], ["purge"]])
def test_what_was_done_is_printed(run, queue, capsys, words):
    queue.result = [(True, "100% of %s")]
    run(*words)
    assert capsys.readouterr().out == "100% of %s\n"
