"""gnt-instance modify: -t rbd takes parameters of the disks with -e."""

import pytest
from ganeti.client import gnt_instance

from ganeti_ceph.cli import instance


@pytest.fixture
def modify(queue, options, monkeypatch):
    commands = {"modify": gnt_instance.commands["modify"]}
    parse = gnt_instance._ParseExtStorageParams
    monkeypatch.setattr(
        gnt_instance,
        "_ParseExtStorageParams",
        lambda params: instance.send_parameters(parse, None, (params,), {}),
    )
    instance.extend_commands(commands)

    def run(*words):
        return commands["modify"][0](*options(commands, "modify", *words, "web1"))

    return run


def test_a_conversion_to_rbd_takes_parameters(modify, queue):
    assert not modify("-t", "rbd", "-e", "pool=ssd,iops=7")
    assert queue.op.disk_template == "rbd"
    assert queue.op.ext_params == {"pool": "ssd", "iops": "7"}


def test_a_conversion_to_rbd_needs_none(modify, queue):
    assert not modify("-t", "rbd")
    assert queue.op.ext_params == {}


def test_one_to_ext_has_its_own(modify, queue):
    assert not modify("-t", "ext", "-e", "provider=x,pool=y1")
    assert queue.op.ext_params == {"provider": "x", "pool": "y1"}


def test_one_to_another_template_takes_none(modify, queue, capsys):
    assert modify("-t", "file", "-e", "pool=ssd") == 1
    assert "ExtStorage" in capsys.readouterr().err
    assert queue.events == []
