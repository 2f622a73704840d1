"""What our jobs have in common: whose errors they raise, and how stages are done."""

import pytest
from fakes import FSID, FakeNodes, FakeRpc, make_nodes
from ganeti import errors as ganeti_errors

from ganeti_ceph import errors, params
from ganeti_ceph.cephconf import ClusterConf, Mon
from ganeti_ceph.jobs.base import ganeti_terms, run_stages
from ganeti_ceph.plan import Stage
from ganeti_ceph.secret import Secret
from ganeti_ceph.state import GroupState, Phase
from ganeti_ceph.steps import AwaitHealth, Configure, Keys, MakeMgr, MakeMon
from ganeti_ceph.wire import WireError

# Errors


@pytest.mark.parametrize(
    ("ours", "code"),
    [
        (errors.UsageError("so"), ganeti_errors.ECODE_INVAL),
        (params.ParameterError("so", "x", 0), ganeti_errors.ECODE_INVAL),
        (errors.PrereqError("so"), ganeti_errors.ECODE_STATE),
    ],
)
def test_what_was_found_before_anything_changed_says_so(ours, code):
    with pytest.raises(ganeti_errors.OpPrereqError) as caught:
        with ganeti_terms():
            raise ours
    assert caught.value.args == (str(ours), code)


@pytest.mark.parametrize(
    "ours",
    [
        errors.ExecError("so"),
        errors.CephError("so", 5),
        WireError("so"),
        errors.Error("so"),
    ],
)
def test_what_failed_while_acting_is_a_failed_execution(ours):
    with pytest.raises(ganeti_errors.OpExecError) as caught:
        with ganeti_terms():
            raise ours
    assert caught.value.args == ("so",)


@pytest.mark.parametrize(
    "foreign", [KeyError("x"), ganeti_errors.OpPrereqError("x", "y")]
)
def test_errors_of_others_are_left_as_they_are(foreign):
    with pytest.raises(type(foreign)) as caught:
        with ganeti_terms():
            raise foreign
    assert caught.value is foreign


# Stages

NODES = make_nodes(3)
ONE, TWO, THREE = (node.uuid for node in NODES)
SECRETS = ("the-mon-key", "the-admin-key")
KEYS = Keys(*map(Secret, SECRETS))
MONS = tuple(Mon(node.host, node.primary_ip) for node in NODES)
CONF = ClusterConf(FSID, MONS, "192.0.2.0/24", None, ())


def configure(node):
    return Configure(CONF, (), node.host, KEYS.admin)


def make_mon(node):
    return MakeMon(FSID, node.host, node.primary_ip, MONS, KEYS)


STAGES = (
    Stage("configuration", tuple((node.uuid, (configure(node),)) for node in NODES)),
    Stage("mons", tuple((node.uuid, (make_mon(node),)) for node in NODES)),
    Stage("mgrs", ((TWO, (MakeMgr("node2", KEYS.admin), AwaitHealth(9))),)),
)


class Run:
    """Runs stages on nodes and keeps what was said."""

    def __init__(self):
        self.rpc = FakeRpc({node.uuid: node.name for node in NODES})
        self.nodes = FakeNodes(NODES)
        self.nodes.answer(self.rpc)
        self.feedback = []

    def __call__(self, stages=STAGES):
        run_stages(self.rpc, stages, NODES, self.feedback.append, "gnt-storage x")

    def failure(self, stages=STAGES):
        with pytest.raises(errors.ExecError) as caught:
            self(stages)
        return str(caught.value)

    def break_connection(self, name):
        """Let the connection to a node break while it does its steps."""
        do = self.nodes._do

        def answer(uuid, sent):
            if self.rpc.names[uuid] == name:
                raise RuntimeError("Operation timed out")
            return do(uuid, sent)

        self.rpc.answers("ceph_do", answer)


@pytest.fixture
def stages():
    return Run()


def test_a_node_is_waited_for_as_long_as_its_longest_step_may_take(stages):
    stages()
    assert stages.rpc.limits == [
        Configure.limit,
        MakeMon.limit,
        max(MakeMgr.limit, AwaitHealth.limit),
    ]


def test_each_stage_and_what_each_node_did_is_told(stages):
    stages()
    assert stages.feedback[0] == "* configuration"
    assert stages.feedback[-3:] == [
        "* mgrs",
        "  - node2: mgr was done (1.5 s)",
        "  - node2: health was done (1.5 s)",
    ]


def test_all_nodes_of_a_stage_are_asked_at_the_same_time(stages):
    stages()
    assert [set(sent) for _, sent in stages.rpc.sent] == [
        {ONE, TWO, THREE},
        {ONE, TWO, THREE},
        {TWO},
    ]


def test_nothing_to_do_is_nothing_said(stages):
    stages(())
    assert (stages.feedback, stages.rpc.sent) == ([], [])


def test_a_failure_names_stage_node_step_reason_and_how_to_go_on(stages):
    stages.nodes.failing["node2", "mon"] = "no space"
    message = stages.failure()
    assert message.startswith("mons: failed after ")
    assert "node2: mon: no space" in message
    assert message.endswith("go on from here with 'gnt-storage x'")


def test_after_a_failure_no_later_stage_is_begun(stages):
    stages.nodes.failing["node2", "mon"] = "no space"
    stages.failure()
    assert {step for _, step in stages.nodes.asked} == {"configure", "mon"}


def test_the_other_nodes_of_a_stage_that_failed_are_told(stages):
    stages.nodes.failing["node2", "mon"] = "no space"
    message = stages.failure()
    assert "  - node1: mon was done (1.5 s)" in stages.feedback
    assert not any("node2: mon" in line for line in stages.feedback)
    assert "node1" not in message


def test_every_failure_of_a_stage_is_named(stages):
    stages.nodes.failing["node1", "mon"] = "no space"
    stages.nodes.failing["node3", "mon"] = "no ceph-mon"
    message = stages.failure()
    assert "node1: mon: no space" in message
    assert "node3: mon: no ceph-mon" in message


def test_the_first_of_two_steps_may_fail_alone(stages):
    stages.nodes.failing["node2", "mgr"] = "no key"
    message = stages.failure()
    assert "node2: mgr: no key" in message
    assert "health" not in message


def test_a_node_that_does_not_answer_is_named_with_what_it_was_to_do(stages):
    stages.break_connection("node2")
    assert "node2: configure: Operation timed out" in stages.failure()


def test_each_kind_of_step_of_a_silent_node_is_named_once(stages):
    many = Stage(
        "many",
        ((TWO, (MakeMgr("a", KEYS.admin), MakeMgr("b", KEYS.admin), AwaitHealth(9))),),
    )
    stages.break_connection("node2")
    assert "node2: mgr, health: " in stages.failure((many,))


@pytest.mark.parametrize("step", ["", "configure", "mon", "health"])
def test_secrets_are_never_told(stages, step):
    stages.nodes.failing["node2", step] = "no luck"
    told = stages.failure() if step else stages()
    shown = f"{told} {stages.feedback}"
    assert not any(secret in shown for secret in SECRETS)


# State


def test_the_group_for_storage_is_found_whatever_its_phase(ganeti):
    ganeti.config.add_group("other")
    unit = ganeti.unit("init-distributed-storage")
    assert unit.storage_group() is None
    group = GroupState(Phase.INITIALISING, FSID)
    ganeti.config.find("other").AddTag(group.tag())
    assert unit.storage_group() == ("other", group)


@pytest.mark.parametrize(
    ("state", "initialised"),
    [
        (None, False),
        (GroupState(Phase.MARKED, None), False),
        (GroupState(Phase.INITIALISING, FSID), True),
        (GroupState(Phase.READY, FSID), True),
    ],
)
def test_a_half_made_cluster_counts_as_one(ganeti, state, initialised):
    if state:
        ganeti.config.find("default").AddTag(state.tag())
    assert ganeti.unit("init-distributed-storage").initialised() is initialised


def test_retagging_leaves_other_tags_alone_and_is_no_update_in_vain(ganeti):
    unit = ganeti.unit("init-distributed-storage")
    ganeti.config.find("node1").GetTags().update({"ceph:rack:r1", "mine", "x"})
    new = frozenset({"ceph:storage:ready"})
    assert unit.retag(unit.cfg.GetNodeInfo(ONE), new, print) is True
    assert unit.retag(unit.cfg.GetNodeInfo(ONE), new, print) is False
    assert ganeti.config.tags("node1") == {"ceph:rack:r1", "mine", "x", *new}
    assert ganeti.config.updates == ["node1"]
