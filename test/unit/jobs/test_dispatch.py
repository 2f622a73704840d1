"""Which logical unit a job runs: ours for our operations, Ganeti's for all others."""

import types

import pytest
from ganeti import mcpu, opcodes

from ganeti_ceph.jobs import dispatch
from ganeti_ceph.jobs.base import StorageUnit

KEY = opcodes.OpRestrictedCommand


class Stock:
    """Takes the place of Ganeti's logical unit."""

    REQ_BGL = "as Ganeti says"

    def __init__(self, *arguments):
        self.arguments = arguments


@pytest.fixture
def table():
    table = {KEY: Stock, opcodes.OpClusterVerify: object}
    dispatch.extend_table(table)
    return table


@pytest.mark.parametrize("name", dispatch.OPERATIONS)
def test_a_known_operation_runs_our_unit_with_its_options(ganeti, name):
    unit = ganeti.unit(name, one="1", node_group="a b")
    assert type(unit) is dispatch.operation(name)
    assert unit.options == {"one": "1", "node_group": "a b"}


@pytest.mark.parametrize(
    "text",
    [
        "sync-time",
        "init-distributed-storage.sh",
        "init-distributed-storage default",
        "INIT-DISTRIBUTED-STORAGE",
        "--storage-type=ceph init-distributed-storage",
        "do 'x",
    ],
)
def test_any_other_command_runs_ganetis_unit(table, text):
    op = types.SimpleNamespace(command=text)
    unit = table[KEY]("processor", op, "and", "the", "rest")
    assert type(unit) is Stock
    assert unit.arguments == ("processor", op, "and", "the", "rest")


def test_a_command_for_nodes_is_ganetis_own_class(ganeti):
    stock = mcpu.Processor.DISPATCH_TABLE[KEY]
    assert type(ganeti.unit("sync-time")) is stock


def test_the_other_opcodes_are_left_alone(table):
    assert table.pop(KEY) is not Stock
    assert table == {opcodes.OpClusterVerify: object}


def test_ganeti_finds_what_it_asks_of_a_units_class(table):
    assert table[KEY].REQ_BGL == Stock.REQ_BGL


@pytest.mark.parametrize("name", dispatch.OPERATIONS)
def test_our_units_do_not_stop_all_other_jobs(name):
    unit = dispatch.operation(name)
    assert issubclass(unit, StorageUnit)
    assert unit.REQ_BGL is False


def test_importing_the_dispatcher_leaves_ganetis_table_as_it_is():
    from ganeti.cmdlib.misc import LURestrictedCommand

    assert mcpu.Processor.DISPATCH_TABLE[KEY] is LURestrictedCommand
