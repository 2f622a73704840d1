"""Changing the storage parameters."""

from collections.abc import Callable

from ganeti_ceph import params
from ganeti_ceph.jobs.base import StorageUnit


class LUModifyStorageParameters(StorageUnit):
    """Apply a ``-S`` argument to the parameters that the configuration holds."""

    def check(self) -> None:
        """Parse the argument and see whether it may be applied now."""
        change = params.parse(self.options.get("parameters", ""))
        self.current = self.parameters()
        self.wanted = params.apply(self.current, change, initialised=self.initialised())
        old, new = params.to_tags(self.current), params.to_tags(self.wanted)
        tags = [f"- {tag}" for tag in sorted(old - new)]
        tags += [f"+ {tag}" for tag in sorted(new - old)]
        self.dry_run_result = [
            (True, line) for line in tags or ["the storage parameters are so already"]
        ]

    def execute(self, feedback: Callable[[str], None]) -> str:
        """Replace the tags that differ."""
        old, new = params.to_tags(self.current), params.to_tags(self.wanted)
        if old == new:
            return "the storage parameters are so already"
        cluster = self.cfg.GetClusterInfo()
        for tag in old - new:
            cluster.RemoveTag(tag)
        for tag in new - old:
            cluster.AddTag(tag)
        self.cfg.Update(cluster, feedback)
        return "the storage parameters are changed"
