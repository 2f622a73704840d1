"""Programs: what they print, and what is said when they fail."""

import time

import pytest

from ganeti_ceph.errors import ExecError
from ganeti_ceph.run import run


def test_what_a_program_printed_is_returned():
    assert run(["sh", "-c", "echo out; echo err >&2"]) == "out\n"


def test_the_end_of_what_it_complained_of_is_in_the_error():
    script = "echo out; for i in 1 2 3 4; do echo line $i >&2; done; exit 3"
    with pytest.raises(ExecError) as caught:
        run(["sh", "-c", script])
    message = str(caught.value)
    assert "exit code 3" in message
    assert message.endswith("line 2; line 3; line 4")


def test_what_it_printed_serves_where_it_complained_of_nothing():
    with pytest.raises(ExecError, match="the reason"):
        run(["sh", "-c", "echo the reason; exit 1"])


def test_exit_codes_that_are_no_failure():
    assert run(["sh", "-c", "echo none; exit 2"], ok=(0, 2)) == "none\n"
    with pytest.raises(ExecError):
        run(["true"], ok=(1,))


def test_a_program_that_does_not_end_is_ended():
    began = time.monotonic()
    with pytest.raises(ExecError, match="did not end within"):
        run(["sleep", "30"], timeout=0.1)
    assert time.monotonic() - began < 10


def test_a_program_that_is_not_there_is_named():
    with pytest.raises(ExecError, match="the program no-such-program is not installed"):
        run(["no-such-program"])


def test_programs_speak_english_and_get_no_input(monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert run(["sh", "-c", "echo $LC_ALL; cat"]) == "C.UTF-8\n"


def test_arguments_are_no_shell():
    assert run(["printf", "%s", "$(id) ; *"]) == "$(id) ; *"


def test_what_is_no_text_does_not_break_it():
    assert run(["printf", r"\377x"]).endswith("x")
