"""A Ganeti cluster for tests: it runs our jobs, and its nodes' steps take effect."""

import types

import fakes
import pytest
from ganeti import locking, mcpu, opcodes

from ganeti_ceph.jobs import command, dispatch


def log(*_):
    pass


class Ganeti:
    """A configuration, an RPC runner, and what a job did with them."""

    def __init__(self, nodes):
        self.config = fakes.FakeConfig()
        self.config.add_group("default", nodes)
        self.rpc = fakes.FakeRpc({node.uuid: node.name for node in nodes})
        self.nodes = fakes.FakeNodes(nodes)
        self.nodes.answer(self.rpc)
        self.set("ceph:disk:/dev/sdb")
        #: What the job told while it ran.
        self.feedback = []

    def set(self, *tags):
        """Set storage parameters by their tags."""
        self.config.find("cluster").GetTags().update(tags)

    def unit(self, operation, dry_run=False, **options):
        """Make the logical unit that the job process makes of a command line."""
        name = opcodes.OpRestrictedCommand
        table = {name: mcpu.Processor.DISPATCH_TABLE[name]}
        dispatch.extend_table(table)
        op = name(
            nodes=[],
            use_locking=False,
            dry_run=dry_run,
            command=command.render(operation, **options),
        )
        processor = types.SimpleNamespace(
            Log=log, LogWarning=log, LogInfo=log, LogStep=log
        )
        return table[name](processor, op, self.config, self.rpc, None, None)

    def run(self, operation, dry_run=False, **options):
        """Run a job as Ganeti does; return the lines of its result."""
        unit = self.unit(operation, dry_run, **options)
        unit.ExpandNames()
        for level in locking.LEVELS:
            if level in unit.needed_locks:
                unit.DeclareLocks(level)
        unit.CheckPrereq()
        done = None if dry_run else unit.Exec(self.feedback.append)
        result = unit.dry_run_result if dry_run else done
        assert unit.op.OP_RESULT(result), f"not what the opcode promises: {result}"
        return [text for _, text in result]

    def init(self, dry_run=False, group="default", storage_type="ceph"):
        """Run init-distributed-storage; return its lines as one text."""
        return "\n".join(
            self.run(
                "init-distributed-storage",
                dry_run,
                storage_type=storage_type,
                node_group=group,
            )
        )

    def modify(self, text):
        """Run modify-storage-parameters; return its line."""
        (line,) = self.run("modify-storage-parameters", parameters=text)
        return line

    def set_offline(self, *names):
        """Take nodes offline."""
        for name in names:
            self.config.find(name).offline = True

    def calls(self):
        """Return the names of the calls that nodes were sent."""
        return [name for name, _ in self.rpc.sent]

    def sent_to(self, call):
        """Return the names of the nodes that a call was sent to."""
        return {
            self.rpc.names[uuid]
            for name, sent in self.rpc.sent
            if name == call
            for uuid in sent
        }


@pytest.fixture
def ganeti():
    """Three nodes with a blank disk each, and the parameter that names it."""
    return Ganeti(fakes.make_nodes(3))
