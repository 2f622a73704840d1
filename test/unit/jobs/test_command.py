"""The command line of an operation: what was put in comes out, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti_ceph.jobs import command

names = st.from_regex("[a-z]+(_[a-z]+)*", fullmatch=True)
options = st.dictionaries(names, st.text())


@given(st.text(), options)
def test_any_options_come_back(operation, options):
    assert command.parse(command.render(operation, **options)) == (operation, options)


@given(options)
def test_a_command_line_begins_with_its_operation(options):
    assert command.render("modify-x", **options).split()[0] == "modify-x"


@pytest.mark.parametrize(
    "value", ["", "a b", "'", '"', "\\", "--x=y", "a=b", "\n", "é"]
)
def test_no_value_is_taken_for_something_else(value):
    line = command.render("do", first=value, second="2")
    assert command.parse(line) == ("do", {"first": value, "second": "2"})


def test_an_operation_needs_no_options():
    assert command.parse("reboot") == ("reboot", {})


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "do 'x",
        "do x",
        "do --x",
        "do -x=1",
        "do --x=1 y",
        "do -- --x=1",
        "do \\",
    ],
)
def test_text_of_another_form_is_not_ours(text):
    assert command.parse(text) is None


@given(st.text())
def test_any_text_is_taken_or_refused(text):
    parsed = command.parse(text)
    assert parsed is None or isinstance(parsed[0], str)
