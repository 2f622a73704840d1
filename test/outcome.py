"""What plans come to: the effect of their stages, on nodes and a cluster of facts."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import fakes

from ganeti_ceph import plan
from ganeti_ceph.facts import ClusterFacts
from ganeti_ceph.params import StorageParameters
from ganeti_ceph.plan import Node, Stage
from ganeti_ceph.secret import Secret
from ganeti_ceph.steps import Keys, Step

KEYS = Keys(Secret("the-mon-key"), Secret("the-admin-key"))


def carry_out(
    stages: Iterable[Stage],
    nodes: Sequence[Node],
    cluster: ClusterFacts | None,
    failing: Callable[[Step], bool] = lambda step: False,
    after: Callable[[ClusterFacts | None, Step], None] = lambda cluster, step: None,
) -> tuple[list[Node], ClusterFacts | None]:
    """Return nodes and cluster after stages, as the real ones would be.

    A stage with a step that is ``failing`` is the last; ``after`` is called with the
    cluster that each step leaves.
    """
    known = {node.uuid: node for node in nodes}
    for stage in stages:
        failed = False
        for uuid, step in _each(stage):
            if failing(step):
                failed = True
                continue
            known[uuid], cluster = fakes.effect(step, known[uuid], cluster, known)
            after(cluster, step)
        if failed:
            break
    return list(known.values()), cluster


def finished(
    nodes: Sequence[Node], params: StorageParameters
) -> tuple[list[Node], ClusterFacts]:
    """Return nodes that were made a storage cluster, and that cluster."""
    made = plan.plan(nodes, params, fakes.FSID, KEYS, True, None)
    after, cluster = carry_out(made.stages, nodes, None)
    assert cluster is not None
    return after, cluster


def changed(cluster: ClusterFacts, host: str, **changes: object) -> ClusterFacts:
    """Return a cluster in which a host's OSDs differ."""
    osds = tuple(
        dataclasses.replace(osd, **changes) if osd.host == host else osd
        for osd in cluster.osds
    )
    return dataclasses.replace(cluster, osds=osds)


def _each(stage: Stage) -> Iterator[tuple[str, Step]]:
    for uuid, steps in stage.steps:
        for step in steps:
            yield uuid, step
