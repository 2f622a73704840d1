"""The node daemon locks memory as it is used."""

import ctypes
import types

import pytest

from ganeti_ceph.node import memory


@pytest.mark.parametrize(("answer", "stock"), [(0, []), (-1, ["locked"])])
def test_memory_is_locked_on_fault_or_else_as_ganeti_does(monkeypatch, answer, stock):
    flags = []

    def mlockall(given):
        flags.append(given)
        return answer

    libc = types.SimpleNamespace(mlockall=mlockall)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: libc)
    calls = []
    memory.lock(lambda: calls.append("locked"), None, (), {})
    assert flags == [1 | 2 | 4]
    assert calls == stock
