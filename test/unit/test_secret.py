"""Secrets are seen by their reader alone, and keys are Ceph's."""

import base64
import struct
import time
import traceback

from ganeti_ceph.secret import Secret, make_key


def test_a_secret_is_nowhere_but_where_it_is_revealed():
    secret = Secret("s3cret")
    for shown in (
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>20}",
        repr([secret]),
    ):
        assert "s3cret" not in shown
    assert secret.reveal() == "s3cret"


def test_a_secret_in_an_exception_is_not_shown():
    try:
        raise ValueError(Secret("unheard of"[::-1]))
    except ValueError:
        assert "fo draehnu" not in traceback.format_exc()


def test_secrets_are_equal_as_their_texts_are():
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_a_key_is_what_ceph_reads():
    raw = base64.b64decode(make_key().reveal())
    kind, seconds, nanoseconds, length = struct.unpack_from("<HIIH", raw)
    assert (kind, nanoseconds, length) == (1, 0, 16)
    assert abs(seconds - time.time()) < 60
    assert len(raw) == 28


def test_no_two_keys_are_the_same():
    assert len({make_key() for _ in range(100)}) == 100
