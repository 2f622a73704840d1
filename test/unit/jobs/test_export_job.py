"""gnt-backup export --config-only as a job: what it refuses and what nodes get."""

import types

import pytest
from fakes import make_nodes
from ganeti import constants, locking, objects
from ganeti import errors as ganeti_errors

RBD, PLAIN = constants.DT_RBD, constants.DT_PLAIN


@pytest.fixture
def web(ganeti):
    """An instance of two disks on node1."""
    disks = [
        objects.Disk(
            dev_type=RBD, logical_id=("rbd", f"image{index}"), params={"pool": "SSD"}
        )
        for index in range(2)
    ]
    ganeti.config.add_guest("web", make_nodes(1)[0], disks)
    ganeti.config.find("cluster").diskparams[RBD] = {"pool": "rbd"}
    ganeti.written, ganeti.failure = [], None
    name = ganeti.rpc.names

    def finalize(node, guest, disks):
        images = [(disk.logical_id[1], disk.params) for disk in disks]
        ganeti.written.append((name[node], guest.name, images))
        return answer(None, ganeti.failure)

    ganeti.rpc.call_finalize_export = finalize
    return ganeti


def answer(payload, fail_msg=None):
    return types.SimpleNamespace(payload=payload, fail_msg=fail_msg)


def export(ganeti, instance="web", node="node2"):
    (line,) = ganeti.run("export-config", instance=instance, node=node)
    return line


def refusal(ganeti, kind=ganeti_errors.OpPrereqError, **words):
    with pytest.raises(kind) as caught:
        export(ganeti, **words)
    return caught.value.args[0]


WRITTEN = [
    (f"image{index}", {"pool": "SSD", "adopt": f"image{index}"}) for index in range(2)
]


def test_a_node_gets_what_the_instance_is_and_its_images_names(web):
    assert export(web) == (
        "node2 has the configuration of web; 'gnt-backup import' makes it anew of"
        " image0, image1, which are not copied"
    )
    assert web.written == [("node2", "web", WRITTEN)]
    # The configuration is as it was.
    assert web.config.find("disk0-of-web").params == {"pool": "SSD"}


def test_the_instance_and_the_node_are_locked(web):
    unit = web.unit("export-config", instance="web", node="node2")
    unit.ExpandNames()
    (node,) = unit.needed_locks[locking.LEVEL_NODE]
    assert web.rpc.names[node] == "node2"
    assert unit.needed_locks[locking.LEVEL_INSTANCE] == ["web"]
    assert unit.share_locks[locking.LEVEL_INSTANCE] == 1
    assert unit.share_locks[locking.LEVEL_NODE] == 0


@pytest.mark.parametrize("disks", [[], [PLAIN], [RBD, PLAIN]])
def test_data_that_is_nowhere_else_is_exported_with_it(web, disks):
    made = [
        objects.Disk(dev_type=kind, logical_id=("x", "y"), params={}) for kind in disks
    ]
    web.config.add_guest("db", make_nodes(1)[0], made)
    assert "leave out --config-only" in refusal(web, instance="db")


def test_unknown_and_offline_ones_are_refused(web):
    assert "'nope'" in refusal(web, instance="nope")
    assert "'nope'" in refusal(web, node="nope")
    web.set_offline("node2")
    assert refusal(web) == "the node node2 is offline"


def test_a_node_that_cannot_write_it_is_told(web):
    web.failure = "No space left on device"
    said = refusal(web, ganeti_errors.OpExecError)
    assert said == "node2: No space left on device"
