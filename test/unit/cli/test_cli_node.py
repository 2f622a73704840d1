"""gnt-node add: what it adds is made part of the storage, where there is one."""

import types

import pytest
from fakes import FSID
from ganeti import cli, netutils
from ganeti import errors as ganeti_errors

from ganeti_ceph.cli import node

READY = f"ceph:storage:ready:{FSID}"


class Client:
    """Stands for Ganeti's queries: one group with its tags."""

    def __init__(self, tags):
        self.tags = tags

    def QueryNodes(self, names, fields, use_locking):
        assert (names, fields) == (["node4.example"], ["group"])
        return [["default"]]

    def QueryGroups(self, names, fields, use_locking):
        assert (names, fields) == (["default"], ["tags"])
        return [[self.tags]]


class Command:
    """``gnt-node add`` with the extension, and what became of it."""

    def __init__(self, monkeypatch, capsys):
        self.capsys = capsys
        self.tags = [READY]
        self.code = None
        self.jobs = []
        self.error = None
        monkeypatch.setattr(cli, "GetClient", lambda: Client(self.tags))
        monkeypatch.setattr(cli, "SubmitOpCode", self._submit)
        monkeypatch.setattr(
            netutils,
            "GetHostname",
            lambda name: types.SimpleNamespace(name=f"{name}.example"),
        )
        self._commands = {"add": (self._stock, "arguments", "options", "", "")}
        node.extend_commands(self._commands)

    def _stock(self, opts, names):
        self.jobs.append("Ganeti's own")
        return self.code

    def _submit(self, op, opts):
        self.jobs.append(op.command)
        if self.error:
            raise self.error
        return [(True, "the storage cluster is ready")]

    def run(self):
        function, *rest = self._commands["add"]
        assert rest == ["arguments", "options", "", ""]
        return function(types.SimpleNamespace(), ["node4"])

    def said(self):
        return self.capsys.readouterr()


@pytest.fixture
def command(monkeypatch, capsys):
    return Command(monkeypatch, capsys)


def test_a_node_is_added_and_then_made_part_of_the_storage(command):
    assert not command.run()
    assert command.jobs == ["Ganeti's own", "repair --nodes=node4.example"]
    assert "the storage cluster is ready" in command.said().out


@pytest.mark.parametrize("tags", [[], ["ceph:storage:bogus"], ["web"]])
def test_without_storage_it_is_ganetis_alone(command, tags):
    command.tags = tags
    command.run()
    assert command.jobs == ["Ganeti's own"]
    assert command.said().out == ""


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("marked", "group default is marked for storage, and has none yet"),
        (f"initialising:{FSID}", "the storage cluster of group default is half made"),
    ],
)
def test_where_the_storage_is_not_made_yet_the_command_is_said(command, tag, words):
    command.tags = [f"ceph:storage:{tag}"]
    assert not command.run()
    assert command.jobs == ["Ganeti's own"]
    (line,) = command.said().out.splitlines()
    assert line.startswith(f"{words}: 'gnt-storage init-distributed-storage -s ceph")


def test_what_ganeti_did_not_add_is_not_made_part_of_anything(command):
    command.code = 1
    assert command.run() == 1
    assert command.jobs == ["Ganeti's own"]


def test_a_refusal_says_that_the_node_is_ganetis_all_the_same(command):
    command.error = ganeti_errors.OpPrereqError("its disk is full of old data")
    with pytest.raises(ganeti_errors.OpPrereqError):
        command.run()
    assert (
        "node4.example is added to Ganeti, but not to the storage" in command.said().err
    )
