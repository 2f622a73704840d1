"""Joins: those that fit are made, those that do not are refused alone and are told."""

import dataclasses
import importlib
import sys
import types

import pytest

from ganeti_ceph.joins import apply, table
from ganeti_ceph.joins.table import JOINS, Join, Kind


def double(wrapped, instance, args, kwargs):
    return 2 * wrapped(*args, **kwargs)


def add_x(attribute):
    if isinstance(attribute, dict):
        attribute["x"] = 1
    else:
        attribute.x = 1


def with_x(attribute):
    return attribute | {"x"}


def fail(attribute):
    raise RuntimeError("no luck")


def fill(module):
    module.filled = True


@pytest.fixture
def log(monkeypatch):
    lines = []
    monkeypatch.setattr(apply.syslog, "syslog", lambda _, line: lines.append(line))
    return lines


@pytest.fixture
def foreign(monkeypatch):
    """A module as Ganeti has them."""
    module = types.ModuleType("foreign")
    exec(
        "def count(self, op, *args, flag=None, **rest): return 21\n"
        "table = {'init': 1, 'info': 2}\n"
        "class Handler:\n"
        "    def Run(self, op): return 21\n"
        "    MAP = {}\n"
        "    NAMES = frozenset()\n"
        "names = frozenset({'init'})\n",
        module.__dict__,
    )
    return module


def join(attribute, kind=Kind.WRAP, accepts=("self, op",), function="double", **rest):
    return Join(
        "foreign",
        attribute,
        kind,
        accepts,
        f"{__name__}:{function}",
        "for tests",
        **rest,
    )


def applied(module, *joins):
    return [(one.place, one.reason) for one in apply.apply_to(module, joins)]


@pytest.fixture(autouse=True)
def process(monkeypatch):
    """A process in which nothing was joined yet."""
    monkeypatch.setattr(apply, "refused", [])
    monkeypatch.setattr(apply, "_around", [])


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])


def test_a_function_is_wrapped(foreign, log):
    good = join("count", accepts=("self, op, *args, flag, **rest",))
    assert applied(foreign, good) == []
    assert foreign.count(None, None) == 42
    assert log == []


def test_a_method_is_wrapped(foreign, log):
    assert applied(foreign, join("Handler.Run")) == []
    assert foreign.Handler().Run(None) == 42


def test_what_runs_around_a_function_is_loaded_when_it_is_called(
    foreign, log, monkeypatch, tmp_path
):
    (tmp_path / "seldom_used.py").write_text(
        "def around(wrapped, instance, args, kwargs): return 3 * wrapped(*args)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "seldom_used", raising=False)
    late = dataclasses.replace(join("Handler.Run"), function="seldom_used:around")
    assert applied(foreign, late) == []
    assert "seldom_used" not in sys.modules
    assert foreign.Handler().Run(None) == 63
    assert sys.modules.pop("seldom_used")


def test_what_cannot_be_loaded_is_refused_and_ganeti_goes_on(foreign, log):
    late = dataclasses.replace(join("Handler.Run"), function="no_such_module:x")
    assert applied(foreign, late) == []
    assert foreign.Handler().Run(None) == 21
    assert foreign.Handler().Run(None) == 21
    ((place, reason),) = [(one.place, one.reason) for one in apply.refused]
    assert place == "foreign.Handler.Run"
    assert "no_such_module" in reason
    (line,) = log
    assert "foreign.Handler.Run" in line


def test_a_daemon_loads_all_of_it_at_once(foreign, log):
    late = dataclasses.replace(join("Handler.Run"), function=f"{__name__}:double")
    lost = dataclasses.replace(
        join("count"),
        accepts=("self, op, *args, flag, **rest",),
        function="no_such_module:x",
    )
    assert applied(foreign, late, lost) == []
    apply.load_all()
    assert [one.place for one in apply.refused] == ["foreign.count"]
    assert [one._function for one in apply._around] == [double, None]


def test_a_dict_and_a_class_are_extended(foreign, log):
    joins = [
        join("table", Kind.EXTEND, ("dict with init, info",), "add_x"),
        join("Handler", Kind.EXTEND, ("type with Run, MAP",), "add_x"),
        join("Handler.MAP", Kind.EXTEND, ("dict",), "add_x"),
    ]
    assert applied(foreign, *joins) == []
    assert foreign.table["x"] == foreign.Handler.x == foreign.Handler.MAP["x"] == 1


def test_a_value_that_cannot_be_extended_is_replaced(foreign, log):
    joins = [
        join("names", Kind.REPLACE, ("frozenset",), "with_x"),
        join("Handler.NAMES", Kind.REPLACE, ("frozenset",), "with_x"),
    ]
    assert applied(foreign, *joins) == []
    assert foreign.names == {"init", "x"}
    assert "x" in foreign.Handler.NAMES
    assert log == []


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (join("missing"), "there is no missing in foreign"),
        (join("Missing.Run"), "there is no Missing.Run in foreign"),
        (join("Handler.Stop"), "there is no Handler.Stop in foreign"),
        (
            join("Handler.Run", accepts=("self", "self, op, more")),
            "its parameters are (self, op), expected (self) or (self, op, more)",
        ),
        (join("count"), "its parameters are (self, op, *args, flag, **rest)"),
        (
            join("table", Kind.EXTEND, ("dict with init, modify, verify",), "add_x"),
            "it has no modify, verify",
        ),
        (
            join("table", Kind.EXTEND, ("list",), "add_x"),
            "it is a dict, expected a list",
        ),
        (join("Handler", Kind.EXTEND, ("type with Stop",), "add_x"), "it has no Stop"),
        (
            join("table", Kind.REPLACE, ("frozenset",), "with_x"),
            "it is a dict, expected a frozenset",
        ),
        (join("names", Kind.REPLACE, ("frozenset",), "fail"), "no luck"),
        (
            join("missing", Kind.REPLACE, ("frozenset",), "with_x"),
            "there is no missing",
        ),
        (join("table", Kind.EXTEND, ("dict",), "fail"), "no luck"),
        (join("table", Kind.EXTEND, ("dict",), "no_such_function"), "no_such_function"),
    ],
)
def test_what_does_not_fit_is_refused_alone(foreign, log, bad, reason):
    good = join("Handler.Run")
    ((place, why),) = applied(foreign, bad, good)
    assert place == bad.place
    assert reason in why
    assert foreign.Handler().Run(None) == 42
    assert foreign.table == {"init": 1, "info": 2}
    assert foreign.names == {"init"}
    (line,) = log
    assert bad.place in line
    assert why in line


def test_one_of_several_known_shapes_is_enough(foreign, log):
    assert applied(foreign, join("Handler.Run", accepts=("self", "self, op"))) == []


def test_the_joins_of_other_modules_are_left_out(foreign, log):
    other = types.ModuleType("other")
    assert applied(other, join("missing")) == []


@pytest.mark.parametrize(("release", "wanted"), [("3.0.2", True), ("3.1.0~rc2", False)])
def test_a_join_is_for_its_releases(foreign, log, monkeypatch, release, wanted):
    from ganeti import constants

    monkeypatch.setattr(constants, "RELEASE_VERSION", release)
    good = join("Handler.Run", releases=("3.0",))
    assert applied(foreign, good) == []
    assert foreign.Handler().Run(None) == (42 if wanted else 21)


def test_a_stand_in_is_no_join_of_a_module_that_loaded(foreign, log):
    assert applied(foreign, join("", Kind.STAND_IN, (), "fill")) == []
    assert log == []
    assert not hasattr(foreign, "filled")


# Loading


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A module on the path, and the joins that a test has for it."""
    (tmp_path / "foreign.py").write_text("def Run(self, op): return 21\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "foreign", raising=False)
    monkeypatch.setattr(apply, "refused", [])
    yield lambda *joins: monkeypatch.setattr(apply, "JOINS", joins)
    sys.modules.pop("foreign", None)


def load():
    spec = apply.joined_spec("foreign", None)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_module_without_joins_is_not_ours(package):
    package()
    assert apply.joined_spec("foreign", None) is None


def test_a_module_that_is_not_there_is_not_ours(package):
    package(Join("absent", "x", Kind.WRAP, (), "x:y", ""))
    assert apply.joined_spec("absent", None) is None


def test_the_loader_is_still_pythons_own_for_all_else(package):
    package(join("Run"))
    loader = apply.joined_spec("foreign", None).loader
    assert loader.get_source("foreign").startswith("def Run")


def test_a_module_that_fails_to_load_fails_as_ever(package, tmp_path, log):
    package(join("Run"))
    (tmp_path / "foreign.py").write_text("import no_such_module\n")
    with pytest.raises(ImportError, match="no_such_module"):
        load()


def test_a_stand_in_fills_a_module_that_cannot_be_loaded(package, tmp_path, log):
    package(join("", Kind.STAND_IN, (), "fill"))
    (tmp_path / "foreign.py").write_text("raise ImportError('no subinterpreters')\n")
    assert load().filled


def test_what_is_refused_while_loading_is_kept(package, log, monkeypatch):
    package(join("missing"))
    monkeypatch.setattr(
        apply, "apply_to", lambda module: [apply.Refusal("foreign.missing", "x")]
    )
    load()
    assert apply.refused == [apply.Refusal("foreign.missing", "x")]


# The table


@pytest.mark.parametrize("one", JOINS, ids=lambda one: one.place)
def test_every_function_of_the_table_is_there(one):
    target, _, name = one.function.partition(":")
    assert callable(getattr(importlib.import_module(target), name))
    assert one.what


def test_no_place_is_joined_twice_in_the_same_release():
    for release in ("3.0", "3.1"):
        places = [
            one.place
            for one in table.JOINS
            if not one.releases or release in one.releases
        ]
        assert len(set(places)) == len(places)


@pytest.mark.parametrize(
    "one",
    [one for one in JOINS if one.kind is not Kind.STAND_IN],
    ids=lambda one: one.place,
)
def test_the_ganeti_that_is_installed_is_as_the_table_expects(one):
    if not apply.is_needed(one):
        return
    try:
        module = importlib.import_module(one.module)
    except SystemExit:
        pytest.fail(f"{one.module} cannot be imported here")
    _, _, value = apply._resolve(module, one.attribute)
    apply.check_fit(value, one.accepts)
