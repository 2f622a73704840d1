"""The program in Ganeti's pipes: what it moves, and how it ends."""

import io
import types

import pytest
from fakes import FakeImage

from ganeti_ceph.disk import copy


@pytest.fixture
def run(storage, monkeypatch):
    """Run the program with what its standard input holds."""
    monkeypatch.setattr(copy.signal, "signal", lambda *_: None)

    def run(*arguments, stdin=b""):
        output = io.BytesIO()
        monkeypatch.setattr(
            copy.sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(stdin))
        )
        with monkeypatch.context() as context:
            context.setattr(copy.sys, "stdout", types.SimpleNamespace(buffer=output))
            return copy.main(arguments), output.getvalue()

    return run


def test_an_image_goes_to_the_standard_output(run, images):
    images["web"] = FakeImage(content=b"content")
    assert run("export", "rbd:vms/web") == (0, b"content")


def test_the_standard_input_goes_into_an_image(run, images):
    images["web"] = FakeImage(7)
    assert run("import", "rbd:vms/web", stdin=b"content") == (0, b"")
    assert images["web"].data == b"content"


def test_what_is_larger_than_a_piece_arrives_whole(run, images, monkeypatch):
    monkeypatch.setattr(copy.image, "CHUNK", 3)
    images["web"] = FakeImage(7)
    run("import", "rbd:vms/web", stdin=b"content")
    assert run("export", "rbd:vms/web") == (0, b"content")


def test_the_uri_names_namespace_user_and_configuration(run, storage):
    storage.images["vms/blue"] = {"web": FakeImage(content=b"blue")}
    storage.images["vms"]["web"] = FakeImage(content=b"none")
    assert run("export", "rbd:vms/blue/web:id=ganeti:conf=/etc/far") == (0, b"blue")
    assert storage.clients == [("/etc/far", "client.ganeti")]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("export",),
        ("export", "vms", "web"),
        ("export", "rbd:vms/web", "x"),
        ("export", "vms/web"),
        ("export", "rbd:vms"),
        ("export", "rbd:vms/web:key=x"),
        ("move", "rbd:vms/web"),
    ],
)
def test_a_call_that_is_wrong_is_told_how_to_call(run, images, arguments, capsys):
    images["web"] = FakeImage(content=b"content")
    assert run(*arguments, stdin=b"other") == (2, b"")
    assert capsys.readouterr().err == "usage: copy import|export URI\n"
    assert images["web"].data == b"content"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("export", "rbd:vms/web"), "cannot read the image vms/web"),
        (("import", "rbd:vms/web"), "cannot write the image vms/web"),
        (("export", "rbd:lost/web"), "no pool lost"),
        (("export", "rbd:vms/lost/web"), "no namespace lost"),
    ],
)
def test_what_fails_is_said_and_ends_with_1(run, images, arguments, words, capsys):
    assert run(*arguments) == (1, b"")
    assert words in capsys.readouterr().err


def test_more_than_the_image_holds_is_a_failure(run, images, capsys):
    images["web"] = FakeImage(3)
    assert run("import", "rbd:vms/web", stdin=b"content") == (1, b"")
    assert "take a larger disk" in capsys.readouterr().err
