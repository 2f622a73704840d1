"""Calls to the nodes: every node gets an answer or a reason, and steps arrive whole."""

import json

import pytest
from fakes import ADMIN, FakeRpc, UnknownCallError, make_node
from test_steps import EXAMPLES

from ganeti_ceph import rpc, wire
from ganeti_ceph.facts import NodeFacts
from ganeti_ceph.rpc import Outcome, Outcomes, Reply
from ganeti_ceph.steps import MakeMgr, StartOsd

NAMES = {"u1": "node1", "u2": "node2"}

#: What a node daemon answers to a call that it does not have.
NOT_FOUND = """<html>
<head>
<title>Error response</title>
</head>
<body>
<h1>Error response</h1>
<p>Error code 404.
<p>Message: Not Found.
<p>Error code explanation: 404 = Nothing matches the given URI.
</body>
</html>
"""


@pytest.fixture
def ganeti():
    return FakeRpc(NAMES)


def looks(node="node1"):
    return wire.encode(make_node(node).facts)


def test_steps_arrive_whole():
    sent = [step for step, _ in EXAMPLES]
    arrived = rpc.decode_steps(json.loads(json.dumps(rpc.encode_steps(sent))))
    assert arrived == tuple(sent)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        [["mgr"]],
        [["mgr", {"id": "a"}, 1]],
        ["mgr"],
        [["reboot", {}]],
        [["mgr", {"id": "../x"}]],
        [["mgr", {"id": 1}]],
        [["mgr", {}]],
        [[["mgr"], {"id": "a"}]],
        [[{}, {"id": "a"}]],
    ],
)
def test_what_is_no_step_is_refused(data):
    with pytest.raises(wire.WireError):
        rpc.decode_steps(data)


def test_one_bad_step_refuses_all():
    good = rpc.encode_steps([MakeMgr("a", ADMIN)])
    with pytest.raises(wire.WireError):
        rpc.decode_steps([*good, ["osd-start", {}]])


def test_each_node_is_sent_its_own(ganeti):
    ganeti.answers("ceph_do", lambda node, sent: wire.encode(Outcomes(())))
    rpc.call(ganeti, rpc.DO, {"u1": [1], "u2": [2]})
    assert ganeti.sent == [("ceph_do", {"u1": [1], "u2": [2]})]


def test_answers_are_typed_and_by_node(ganeti):
    ganeti.answers("ceph_look", lambda node, sent: looks(NAMES[node]))
    replies = rpc.call(ganeti, rpc.LOOK, {"u1": None, "u2": None})
    assert isinstance(replies["u1"].answer, NodeFacts)
    assert {uuid: reply.answer.hostname for uuid, reply in replies.items()} == NAMES


def test_a_node_that_fails_does_not_take_the_others_with_it(ganeti):
    def answer(node, sent):
        if node == "u1":
            raise RuntimeError("Connection failed (111: refused)")
        return looks()

    ganeti.answers("ceph_look", answer)
    replies = rpc.call(ganeti, rpc.LOOK, {"u1": None, "u2": None})
    assert replies["u1"] == Reply(None, "Connection failed (111: refused)")
    assert replies["u2"].answer is not None


@pytest.mark.parametrize("payload", [None, [], {}, {**looks(), "hostname": 1}])
def test_an_answer_of_another_form_is_a_reason(ganeti, payload):
    ganeti.answers("ceph_look", lambda node, sent: payload)
    reply = rpc.call(ganeti, rpc.LOOK, {"u1": None})["u1"]
    assert reply.answer is None
    assert "ceph_look" in reply.error


def test_nobody_is_asked_nothing(ganeti):
    assert rpc.call(ganeti, rpc.LOOK, {}) == {}
    assert ganeti.sent == []


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (NOT_FOUND, "has no ganeti-ceph"),
        ("Error 52: Empty reply from server", "is ganeti-ceph installed there"),
        ("Error 7: Failed to connect to 192.0.2.1", "is its node daemon running"),
    ],
)
def test_a_node_without_the_extension_is_told_as_such(ganeti, message, words):
    def answer(node, sent):
        raise RuntimeError(message)

    ganeti.answers("ceph_look", answer)
    reply = rpc.call(ganeti, rpc.LOOK, {"u1": None})["u1"]
    assert words in reply.error


@pytest.mark.parametrize(
    "message",
    [
        "/dev/disk/by-id/wwn-0x5404 is gone",
        "the mon's key was Not Found",
        "osd.404 fails",
    ],
)
def test_other_failures_are_told_in_their_own_words(ganeti, message):
    def answer(node, sent):
        raise RuntimeError(message)

    ganeti.answers("ceph_look", answer)
    assert rpc.call(ganeti, rpc.LOOK, {"u1": None})["u1"].error == message


def test_no_two_calls_have_the_same_name():
    assert len({call.name for call in rpc.CALLS}) == len(rpc.CALLS)


def test_a_call_ends_before_ganeti_gives_the_job_up(ganeti):
    longest = {rpc.COPY: 86400}
    assert all(0 < call.timeout <= longest.get(call, 600) for call in rpc.CALLS)


def test_outcomes_hold_sentences_only():
    outcome = Outcome("osd-start", 1.0, "osd.1 runs", None)
    arrived = wire.decode(
        Outcomes, json.loads(json.dumps(wire.encode(Outcomes((outcome,)))))
    )
    assert arrived.steps == (outcome,)
    fields = set(wire.encode(outcome))
    assert fields == {"step", "seconds", "done", "error"}


def test_the_fake_knows_only_what_it_was_told(ganeti):
    with pytest.raises(UnknownCallError):
        rpc.call(ganeti, rpc.KEYS, {"u1": None})
    assert StartOsd.name == "osd-start"
