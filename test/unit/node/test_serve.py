"""The node daemon's answers: ours in words, whatever arrives, and no tracebacks."""

import errno
import json
import threading

import fakes
import pytest
from fakes import ADMIN, FSID
from ganeti import backend
from hypothesis import given
from hypothesis import strategies as st

from ganeti_ceph import rpc, wire
from ganeti_ceph.cephconf import Mon
from ganeti_ceph.errors import CephError, ExecError
from ganeti_ceph.node import config, files, serve
from ganeti_ceph.rpc import PROTOCOL, Outcomes
from ganeti_ceph.secret import Secret
from ganeti_ceph.steps import AwaitHealth, Keys, MakeMgr, MakeMon, Settle


class Handler:
    """Takes the place of Ganeti's request handler."""


serve.extend_handler(Handler)


def ask(name, params):
    """Call as the node daemon does; what goes in and out is JSON."""
    function = getattr(Handler(), f"perspective_{name}")
    return json.loads(json.dumps(function(json.loads(json.dumps(params)))))


def do(*steps):
    answer = ask("ceph_do", [PROTOCOL, rpc.encode_steps(steps)])
    return wire.decode(Outcomes, answer).steps


def refusal(name, params):
    with pytest.raises(backend.RPCFail) as caught:
        ask(name, params)
    return str(caught.value)


@pytest.fixture
def action(monkeypatch):
    """Say what doing a kind of step does."""

    def action(kind, function):
        monkeypatch.setitem(serve._ACTIONS, kind, function)

    return action


def raises(error):
    def fail(step):
        raise error

    return fail


# Calls


@pytest.mark.parametrize("call", rpc.CALLS, ids=lambda call: call.name)
def test_every_call_is_answered(call):
    assert callable(getattr(Handler, f"perspective_{call.name}"))


def test_every_kind_of_step_has_somebody_who_does_it():
    assert set(serve._ACTIONS) == set(rpc.KINDS.values())


def test_the_handler_keeps_what_it_has():
    class Other:
        perspective_version = "as it was"

    serve.extend_handler(Other)
    assert Other.perspective_version == "as it was"


@pytest.mark.parametrize("call", rpc.CALLS, ids=lambda call: call.name)
@pytest.mark.parametrize("protocol", [0, PROTOCOL + 1, str(PROTOCOL), None, [PROTOCOL]])
def test_a_master_of_another_version_is_told_so(call, protocol):
    text = refusal(call.name, [protocol, None])
    assert "install the same version on all nodes" in text
    assert f"this node {PROTOCOL}" in text


@pytest.mark.parametrize("call", rpc.CALLS, ids=lambda call: call.name)
@pytest.mark.parametrize(
    "params", [None, [], [PROTOCOL], [PROTOCOL, None, None], {}, "12", 1]
)
def test_what_is_no_call_of_ours_is_refused_in_words(call, params):
    assert "not of ganeti-ceph's form" in refusal(call.name, params)


@pytest.mark.parametrize("sent", [None, [], {}, {"disks": []}, {"disks": [1]}, "x"])
def test_a_look_at_nothing_known_is_refused_in_words(sent):
    assert "what to look at" in refusal("ceph_look", [PROTOCOL, sent])


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def check_refusal(steps):
    """See that steps are refused in words, unless they are good by chance."""
    try:
        rpc.decode_steps(steps)
    except wire.WireError as err:
        assert refusal("ceph_do", [PROTOCOL, steps]) == str(err)


@given(st.lists(st.tuples(st.sampled_from(sorted(rpc.KINDS)), anything)))
def test_steps_of_anything_are_refused_in_words(steps):
    check_refusal([list(step) for step in steps])


@given(anything)
def test_anything_instead_of_steps_is_refused_in_words(sent):
    check_refusal(sent)


EXAMPLE = MakeMon(FSID, "node1", "192.0.2.1", (), Keys(Secret("a"), Secret("b")))


@given(st.sampled_from(["fsid", "id", "address", "members", "keys"]), anything)
def test_a_step_with_one_bad_value_is_refused_in_words(field, value):
    ((name, sent),) = rpc.encode_steps([EXAMPLE])
    check_refusal([[name, {**sent, field: value}]])


def test_the_misfits_of_the_node_are_told(monkeypatch):
    from ganeti_ceph.joins import fit

    monkeypatch.setattr(
        fit, "ask", lambda: rpc.Misfits("0.1", "3.1.0", (("place", "why"),))
    )
    assert ask("ceph_misfits", [PROTOCOL, None])["places"] == [["place", "why"]]


def test_the_keys_go_where_they_are_asked_for(tree):
    keys = Keys(Secret("m0n=="), Secret("adm1n=="))
    directory = files.daemon_dir("mon", "node1")
    directory.mkdir(parents=True)
    (directory / "keyring").write_text(config.mon_keyring(keys))
    files.ADMIN_KEYRING.parent.mkdir(parents=True)
    files.ADMIN_KEYRING.write_text(config.keyring("client.admin", keys.admin))
    answer = ask("ceph_keys", [PROTOCOL, None])
    assert wire.decode(Keys, answer) == keys


def test_a_node_without_keys_says_so(tree):
    assert "this node has no mon" in refusal("ceph_keys", [PROTOCOL, None])


def test_a_file_that_cannot_be_read_is_named(tree):
    files.CONF.mkdir(parents=True)
    text = refusal("ceph_look", [PROTOCOL, {"disks": [], "db_devices": []}])
    assert text == f"Is a directory: {files.CONF}"


def test_a_cluster_that_does_not_answer_is_a_failed_call_in_words(storage):
    storage.reachable = False
    assert "cannot connect" in refusal("ceph_status", [PROTOCOL, None])


def test_the_status_travels(storage):
    answer = ask("ceph_status", [PROTOCOL, None])
    assert wire.decode(fakes.ClusterFacts, answer).fsid == FSID


# Steps


def test_each_step_has_its_outcome_in_the_order_asked(action):
    action(MakeMgr, lambda step: f"mgr.{step.id} runs")
    outcomes = do(MakeMgr("a", ADMIN), MakeMgr("b", ADMIN), MakeMgr("c", ADMIN))
    assert [outcome.done for outcome in outcomes] == [
        "mgr.a runs",
        "mgr.b runs",
        "mgr.c runs",
    ]
    assert all(one.error is None and one.seconds >= 0 for one in outcomes)


def test_no_steps_have_no_outcomes():
    assert do() == ()


def test_the_steps_of_one_node_are_done_at_the_same_time(action):
    together = threading.Barrier(2, timeout=30)
    action(MakeMgr, lambda step: str(together.wait() >= 0))
    assert [
        outcome.done for outcome in do(MakeMgr("a", ADMIN), MakeMgr("b", ADMIN))
    ] == ["True"] * 2


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ExecError("no luck"), "no luck"),
        (KeyError("pools"), "KeyError: 'pools'"),
        (CephError("no quorum", 110), "no quorum"),
        (OSError(errno.ENOSPC, "No space left", "/var"), "No space left: /var"),
        (OSError(errno.ENOSPC, "No space left"), "[Errno 28] No space left"),
        (OSError("odd"), "odd"),
    ],
)
def test_a_step_that_fails_says_why_and_does_not_stop_the_others(action, error, text):
    action(MakeMgr, raises(error))
    action(AwaitHealth, lambda step: "healthy")
    failed, good = do(MakeMgr("a", ADMIN), AwaitHealth(1))
    assert (failed.step, failed.done, failed.error) == ("mgr", "", text)
    assert (good.done, good.error) == ("healthy", None)


def test_a_node_works_for_one_job_at_a_time(action):
    """A job that gave up may have left its call behind."""
    begun, go_on = threading.Event(), threading.Event()
    action(MakeMgr, lambda step: str(begun.set() or go_on.wait(30)))
    first = threading.Thread(target=do, args=[MakeMgr("a", ADMIN)])
    first.start()
    try:
        assert begun.wait(30)
        sent = [PROTOCOL, rpc.encode_steps([MakeMgr("a", ADMIN)])]
        assert "a former run still works" in refusal("ceph_do", sent)
    finally:
        go_on.set()
        first.join()
    assert do(MakeMgr("a", ADMIN))[0].error is None


def test_one_step_that_is_not_known_keeps_all_from_being_done(action):
    done = []
    action(MakeMgr, done.append)
    sent = [*rpc.encode_steps([MakeMgr("a", ADMIN)]), ["reboot", {}]]
    assert "does not know" in refusal("ceph_do", [PROTOCOL, sent])
    assert done == []


def test_steps_reach_those_who_do_them(storage, clock):
    (outcome,) = do(Settle((Mon("node1", "192.0.2.1"),), (("one", "1"),), ()))
    assert outcome.done == "mons node1 are in quorum"
    assert storage.settings == {"one": "1"}
