"""The fakes of Ceph's bindings: they take nothing that the installed ones do not."""

import inspect

import fakes
import pytest
import rados
import rbd

PAIRS = [
    (fakes.FakeRados, rados.Rados),
    (fakes.FakePoolHandle, rados.Ioctx),
    (fakes.FakeRbd, rbd.RBD),
    (fakes.FakeOpenImage, rbd.Image),
]


@pytest.mark.parametrize(
    ("real", "fake"),
    [
        pytest.param(getattr(real, name, None), function, id=f"{real.__name__}.{name}")
        for double, real in PAIRS
        for name, function in inspect.getmembers(double, inspect.isfunction)
        if not name.startswith("_")
    ],
)
def test_a_function_is_there_with_all_parameters(real, fake):
    assert real is not None
    known = inspect.signature(real).parameters
    if any(one.kind is one.VAR_KEYWORD for one in known.values()):
        return
    for name, one in inspect.signature(fake).parameters.items():
        if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
            assert name in known
