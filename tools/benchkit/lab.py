"""The lab that a benchmark runs in, used through its command line."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .errors import BenchError

_PROGRAM = Path(__file__).resolve().parents[1] / "lab"
_DATA = Path(__file__).resolve().parent / "data"
_LIMIT = 600.0
# The time that the lab needs to get into the node is no part of it.
_TIMED = 'TIMEFORMAT=%R; time "$@"'
# How much of a failed command's output is shown.
_LINES = 15
_WIDTH = 200


@dataclass(frozen=True)
class Answer:
    """What a command in a node came to."""

    code: int
    output: str
    errors: str
    seconds: float


@dataclass(frozen=True)
class Lab:
    """A lab of some nodes, each with one disk."""

    name: str
    nodes: tuple[str, ...]

    def up(self, release: str) -> None:
        """Start the nodes and make their Ganeti cluster."""
        self._lab("up", f"--nodes={len(self.nodes)}", f"--release={release}")

    def down(self) -> None:
        """Take the lab away."""
        self._lab("down")

    def run(self, node: str, *words: str) -> Answer:
        """Run a command in a node."""
        return self._ask(["run", node, "--", *words])

    def script(
        self, node: str, name: str, *arguments: str, program: str = "bash"
    ) -> Answer:
        """Run one of our scripts in a node."""
        text = (_DATA / name).read_text()
        words = [program, "/dev/stdin", *arguments]
        return self._ask(["run", node, "--", *words], text)

    def script_everywhere(self, name: str, *arguments: str) -> None:
        """Run one of our scripts in all nodes at once, or raise BenchError."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            answers = pool.map(
                lambda node: self.script(node, name, *arguments), self.nodes
            )
            for node, answer in zip(self.nodes, answers, strict=True):
                require(answer, f"{node}: {name}")

    def master(self, *words: str) -> str:
        """Return what a command prints on the master; raise BenchError if it fails."""
        return require(self.run(self.nodes[0], *words), " ".join(words))

    def timed(self, *words: str) -> float:
        """Return a command's seconds on the master; raise BenchError if it fails."""
        answer = self.run(self.nodes[0], "bash", "-c", _TIMED, "bash", *words)
        require(answer, " ".join(words))
        return float(answer.errors.split()[-1])

    def put(self, node: str, name: str, path: str) -> None:
        """Put one of our files into a node, or raise BenchError."""
        words = ["run", node, "--", "install", "-D", "/dev/stdin", path]
        require(self._ask(words, (_DATA / name).read_text()), f"{node}: {path}")

    def address(self, node: str) -> str:
        """Return a node's IPv4 address."""
        return self.master("getent", "ahostsv4", node).split()[0]

    def _lab(self, *words: str) -> None:
        begun = [_PROGRAM, "--name", self.name, *words]
        if subprocess.run(begun, check=False).returncode != 0:
            raise BenchError(f"tools/lab {words[0]} failed")

    def _ask(self, words: list[str], text: str | None = None) -> Answer:
        begun = time.monotonic()
        try:
            done = subprocess.run(
                [_PROGRAM, "--name", self.name, *words],
                input=text,
                stdin=subprocess.DEVNULL if text is None else None,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired as err:
            raise BenchError(f"{words[1]}: no end after {_LIMIT:.0f} s") from err
        return Answer(
            done.returncode, done.stdout, done.stderr, time.monotonic() - begun
        )


def require(answer: Answer, what: str) -> str:
    """Return a command's output; raise BenchError with its last lines if it failed."""
    if answer.code != 0:
        lines = (answer.output + answer.errors).strip().splitlines()[-_LINES:]
        last = "".join(f"\n  {line[:_WIDTH]}" for line in lines)
        raise BenchError(f"{what}: exit code {answer.code}{last}")
    return answer.output
