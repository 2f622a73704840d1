"""Ganeti's client: it notices lost nodes and trusts no authority but Ganeti's."""

import types

import pycurl

from ganeti_ceph import curl


def test_a_node_that_is_lost_while_it_works_is_noticed():
    options = {}
    handle = types.SimpleNamespace(
        setopt=options.__setitem__, unsetopt=lambda option: None
    )
    assert curl.configure(lambda handle: "done", None, (handle,), {}) == "done"
    assert options[pycurl.TCP_KEEPALIVE] == 1
    # Linux asks nine times.
    silent = options[pycurl.TCP_KEEPIDLE] + 9 * options[pycurl.TCP_KEEPINTVL]
    assert 30 <= silent <= 90


def test_calls_trust_no_authority_of_the_system():
    # With a real handle: not each version knows how to unset each option.
    handle = pycurl.Curl()
    unset = []
    double = types.SimpleNamespace(
        setopt=handle.setopt,
        unsetopt=lambda option: (handle.unsetopt(option), unset.append(option)),
    )
    curl.configure(lambda handle: None, None, (double,), {})
    assert unset == [pycurl.CAPATH]
