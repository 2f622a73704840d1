"""What gnt-cluster verify says of the extension, node by node."""

import types

import pytest
from fakes import FSID, FakeRpc, make_nodes
from ganeti import constants
from ganeti.cmdlib.cluster.verify import LUClusterVerifyConfig

from ganeti_ceph import wire
from ganeti_ceph.jobs import verify
from ganeti_ceph.rpc import Misfits, Reply
from ganeti_ceph.state import GroupState, Phase

FIT = Misfits("0.1", "3.1.0", ())
MISFIT = Misfits("0.1", "3.1.0", (("ganeti.mcpu.X", "there is no X"),))


@pytest.fixture(autouse=True)
def looked(monkeypatch):
    """Who was looked at the storage cluster for."""
    looked = []
    monkeypatch.setattr(
        verify.status, "verify", lambda unit, feedback: looked.append(unit)
    )
    return looked


class Verification(LUClusterVerifyConfig):
    """Ganeti's own unit, made without a job; it keeps what it is told."""

    def __init__(self, *offline):
        nodes = make_nodes(3)
        self.rpc = FakeRpc({node.uuid: node.name for node in nodes})
        self.all_node_info = {
            node.uuid: types.SimpleNamespace(
                uuid=node.uuid, name=node.name, offline=node.name in offline
            )
            for node in nodes
        }
        tags = {GroupState(Phase.READY, FSID).tag()}
        self.all_group_info = {
            "g": types.SimpleNamespace(name="default", GetTags=lambda: tags)
        }
        self.op = types.SimpleNamespace(ignore_errors=[], error_codes=False)
        self.bad = False
        self.lines = []
        self._feedback_fn = self.feedback

    def unused(self):
        """Let no group have storage."""
        self.all_group_info["g"].GetTags = frozenset
        return self

    def feedback(self, *told):
        # Ganeti 3.0 tells each message, 3.1 a list after its kind.
        self.lines += told[-1] if isinstance(told[-1], list) else [told[-1]]

    def answers(self, **by_name):
        def answer(uuid, sent):
            found = by_name.get(self.rpc.names[uuid], FIT)
            if isinstance(found, Exception):
                raise found
            return wire.encode(found)

        self.rpc.answers("ceph_misfits", answer)

    def verify(self, good=True):
        def stock(feedback_fn):
            feedback_fn("* Verifying cluster config")
            return good

        return verify.verify_config(stock, self, (self.feedback,), {})


def test_nodes_where_all_fits_are_not_complained_of():
    unit = Verification()
    unit.answers()
    assert unit.verify() is True
    assert unit.lines == [
        "* Verifying cluster config",
        "* Verifying the storage extension's joins",
    ]


def test_a_misfit_is_an_error_of_its_node():
    unit = Verification()
    unit.answers(node2=MISFIT)
    assert unit.verify() is False
    (line,) = unit.lines[2:]
    assert "ERROR: node node2: " in line
    assert "not joined to ganeti.mcpu.X" in line


def test_a_node_without_the_extension_is_an_error_of_that_node():
    unit = Verification()
    unit.answers(node3=RuntimeError("Failed to connect to 192.0.2.3"))
    assert unit.verify() is False
    (line,) = unit.lines[2:]
    assert "node node3: ganeti-ceph: is its node daemon running?" in line


def test_without_storage_a_node_may_do_without_the_extension():
    unit = Verification().unused()
    unit.answers(node3=RuntimeError("Failed to connect to 192.0.2.3"))
    assert unit.verify() is True
    assert "WARNING: node node3: " in unit.lines[2]


def test_a_misfit_is_an_error_also_without_storage():
    unit = Verification().unused()
    unit.answers(node2=MISFIT)
    assert unit.verify() is False
    assert "ERROR: node node2: " in unit.lines[2]


def test_an_offline_node_is_not_asked():
    unit = Verification("node2")
    unit.answers(node2=MISFIT)
    assert unit.verify() is True
    ((_, sent),) = unit.rpc.sent
    assert {unit.rpc.names[uuid] for uuid in sent} == {"node1", "node3"}


def test_what_ganeti_found_bad_stays_bad():
    unit = Verification()
    unit.answers()
    assert unit.verify(good=False) is False


def test_an_error_that_is_ignored_is_but_a_warning():
    unit = Verification()
    unit.op.ignore_errors = [constants.CV_ENODEVERSION[1]]
    unit.answers(node2=MISFIT)
    assert unit.verify() is True
    assert "WARNING: node node2" in unit.lines[2]


def test_feedback_may_be_passed_by_name():
    unit = Verification()
    unit.answers()
    lines = []
    assert verify.verify_config(
        lambda feedback_fn: True, unit, (), {"feedback_fn": lines.append}
    )
    assert lines == ["* Verifying the storage extension's joins"]


@pytest.mark.parametrize(
    ("reply", "texts"),
    [
        (Reply(FIT, None), []),
        (Reply(None, "no route"), ["ganeti-ceph: no route"]),
        (
            Reply(Misfits("0.1", "3.1.0", (("a", "b"), ("c", "d"))), None),
            [
                "ganeti-ceph 0.1 is not joined to a of Ganeti 3.1.0: b",
                "ganeti-ceph 0.1 is not joined to c of Ganeti 3.1.0: d",
            ],
        ),
    ],
)
def test_each_misfit_is_a_sentence(reply, texts):
    assert verify.complaints(reply) == texts
