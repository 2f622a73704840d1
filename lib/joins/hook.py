"""The import hook that joins the extension to Ganeti's modules.

A ``.pth`` file makes every Python program on a node import this module at its
start, so it must cost next to nothing: it imports nothing but ``sys`` and leaves
a finder that answers only for ``ganeti.*``.  The table of joins is read when the
first such module is imported.
"""

import sys


class JoinFinder:
    """A meta path finder that lets a joined module load, then applies its joins."""

    def find_spec(self, fullname, path=None, target=None):  # type: ignore
        """Return the spec that the other finders give, with our loader around theirs.

        ``None`` (that is: not ours) for every module without joins, and for any
        trouble of our own, which is logged: Ganeti goes on as if we were not here.
        """
        # Python embedded in another program, such as ceph-mgr, has no executable.
        embedded = not sys.executable
        if not fullname.startswith("ganeti.") and not (
            embedded and fullname == "bcrypt"
        ):
            return None
        try:
            from ganeti_ceph.joins import apply

            return apply.joined_spec(fullname, path)
        except Exception as err:
            _log(f"ganeti-ceph is not joined to {fullname}: {err!r}")
            return None


def _log(message: str) -> None:
    # Ganeti sets its logging up only after its imports, hence the system's log.
    import syslog

    syslog.syslog(syslog.LOG_ERR, message)


def install() -> None:
    """Put the finder in front of the others, once per interpreter."""
    if not any(isinstance(finder, JoinFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, JoinFinder())


install()
