"""What lets stock ceph-mgr run all of its modules.

ceph-mgr runs each module in a Python subinterpreter.  Newer builds of ``bcrypt``
(PyO3) refuse to load there, and with them every module that imports ``mgr_util``:
13 on Debian 13, among them the orchestrator, volumes and the balancer.  Of bcrypt
they use two functions; here a Python process of its own answers for them.
"""

import json
import subprocess
import types
from typing import Any

#: A ceph-mgr subinterpreter has no ``sys.executable``.
_PYTHON = "/usr/bin/python3"

_CODE = """\
import json, sys, bcrypt
name, arguments = json.load(sys.stdin)
given = [a.encode("latin-1") if isinstance(a, str) else a for a in arguments]
answer = getattr(bcrypt, name)(*given)
json.dump(answer.decode("latin-1") if isinstance(answer, bytes) else answer, sys.stdout)
"""


def stand_in_for_bcrypt(module: types.ModuleType) -> None:
    """Give a bcrypt module that could not be loaded the functions of one that was."""

    def gensalt(rounds: int = 12, prefix: bytes = b"2b") -> bytes:
        """Return a new salt."""
        return _ask_bytes("gensalt", rounds, prefix)

    def hashpw(password: bytes, salt: bytes) -> bytes:
        """Return the hash of a password."""
        return _ask_bytes("hashpw", password, salt)

    def checkpw(password: bytes, hashed_password: bytes) -> bool:
        """Tell whether a password has this hash."""
        return bool(_ask("checkpw", password, hashed_password))

    for function in (gensalt, hashpw, checkpw):
        setattr(module, function.__name__, function)


def _ask_bytes(name: str, *arguments: Any) -> bytes:
    answer: str = _ask(name, *arguments)
    return answer.encode("latin-1")


def _ask(name: str, *arguments: Any) -> Any:
    # The password goes through a pipe: a command line is everybody's to read.
    plain = [a.decode("latin-1") if isinstance(a, bytes) else a for a in arguments]
    done = subprocess.run(
        [_PYTHON, "-c", _CODE],
        input=json.dumps([name, plain]),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if done.returncode != 0:
        raise ValueError(done.stderr.strip().rpartition("\n")[2])
    return json.loads(done.stdout)
