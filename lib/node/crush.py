"""The CRUSH map, as Ceph's commands tell it: places of OSDs and hosts, and rules."""

from collections.abc import Iterator
from typing import Any

from ganeti_ceph.facts import CrushPlace, Rule


def buckets(tree: dict[str, Any]) -> dict[int, str]:
    """Return the host bucket of each OSD that is in one; of ``ceph osd tree``."""
    return {
        osd: node["name"]
        for node in tree["nodes"]
        if node["type"] == "host"
        for osd in node["children"]
    }


def places(tree: dict[str, Any]) -> dict[str, CrushPlace]:
    """Return the place of each host, its root first; of ``ceph osd tree``.

    One that is below no root has none.
    """
    above = {
        child: node for node in tree["nodes"] for child in node.get("children", ())
    }

    def way(bucket: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
        while bucket is not None:
            yield bucket["type"], bucket["name"]
            bucket = above.get(bucket["id"])

    return {
        node["name"]: tuple(way(above.get(node["id"])))[::-1]
        for node in tree["nodes"]
        if node["type"] == "host"
    }


def rules(dump: list[dict[str, Any]]) -> dict[int, Rule]:
    """Return the rules that are of the plain kind, by id; of ``crush rule dump``.

    Such a rule takes one bucket, mostly a root, and chooses one kind of bucket from
    it, once.
    """
    found = {}
    for rule in dump:
        # How often it tries does not matter to where it may put anything.
        steps = [one for one in rule["steps"] if not one["op"].startswith("set_")]
        if [one["op"].partition("_")[0] for one in steps] not in (
            ["take", "chooseleaf", "emit"],
            ["take", "choose", "emit"],
        ):
            continue
        take, choose, _ = steps
        if choose["num"] != 0 or (
            choose["op"].startswith("choose_") and choose["type"] != "osd"
        ):
            continue
        below, _, device_class = take["item_name"].partition("~")
        found[rule["rule_id"]] = Rule(below, choose["type"], device_class or None)
    return found
