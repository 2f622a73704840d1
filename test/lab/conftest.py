"""Labs for the tests: pytest test/lab --release=trixie, as root."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
TOOL = TREE / "tools/lab"
UP_LIMIT = 1800.0
RELEASES = ("trixie", "bookworm")

Result = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class TestLab:
    """A lab that tests give commands to."""

    __test__ = False

    name: str
    release: str
    options: Sequence[str] = field(default_factory=tuple)

    def tool(
        self, *words: str, check: bool = True, timeout: float = 120, stdin: str = ""
    ) -> Result:
        """Run tools/lab with a command and its arguments."""
        command, *rest = words
        return tool(
            command,
            "--name",
            self.name,
            *rest,
            check=check,
            timeout=timeout,
            stdin=stdin,
        )

    def run(
        self,
        node: str,
        command: str | Sequence[str],
        check: bool = True,
        timeout: float = 120,
        stdin: str = "",
    ) -> Result:
        """Run a command in a node: a list of words, or a line for bash."""
        words = ["bash", "-c", command] if isinstance(command, str) else command
        return self.tool(
            "run", node, "--", *words, check=check, timeout=timeout, stdin=stdin
        )

    def up(self) -> None:
        self.tool("up", "--release", self.release, *self.options, timeout=UP_LIMIT)

    def down(self) -> None:
        self.tool("down")

    def kill(self, node: str) -> None:
        self.tool("kill", node)

    def start(self, node: str) -> None:
        self.tool("start", node)

    def reboot(self, node: str) -> None:
        self.tool("reboot", node)

    def cut(self, node: str) -> None:
        self.tool("cut", node)

    def heal(self, node: str) -> None:
        self.tool("heal", node)


def tool(
    *words: str, check: bool = True, timeout: float = 120, stdin: str = ""
) -> Result:
    """Run tools/lab; when it fails and must not, fail with all it said."""
    done = subprocess.run(
        [str(TOOL), *words],
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
    if check and done.returncode != 0:
        pytest.fail(
            f"tools/lab {shlex.join(words)}: exit code {done.returncode}\n"
            f"{done.stdout}{done.stderr}",
            pytrace=False,
        )
    return done


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--release", choices=RELEASES, default=RELEASES[0], help="Debian of the nodes"
    )
    parser.addoption(
        "--use", metavar="NAME", help="a lab that is up, instead of new ones"
    )


@pytest.fixture(scope="session", autouse=True)
def root() -> None:
    if os.geteuid() != 0:
        sys.exit("test/lab must run as root: it starts labs")


@pytest.fixture(scope="session")
def release(request: pytest.FixtureRequest) -> str:
    """The Debian release of the nodes."""
    return str(request.config.getoption("--release"))


NewLab = Callable[..., TestLab]


@dataclass(frozen=True)
class Demo:
    """A lab that the demo left up, and what it printed."""

    lab: TestLab
    done: Result


@pytest.fixture(scope="session")
def demo(release: str) -> Iterator[Demo]:
    """The demo, run to its end."""
    lab = TestLab(f"test-{release}-{os.getpid()}", release)
    # A test of its own says whether it went well.
    done = lab.tool("demo", "--release", release, check=False, timeout=UP_LIMIT)
    yield Demo(lab, done)
    lab.down()


@pytest.fixture(scope="session")
def lab(release: str, request: pytest.FixtureRequest) -> TestLab:
    """The lab for all tests together, with storage, as the demo left it."""
    if used := request.config.getoption("--use"):
        return TestLab(used, release)
    demo: Demo = request.getfixturevalue("demo")
    return demo.lab


@pytest.fixture(scope="module")
def new_lab(release: str, request: pytest.FixtureRequest) -> Iterator[NewLab]:
    """Start more labs: new_lab("--nodes=1"); they end with the module."""
    made: list[TestLab] = []
    used = request.config.getoption("--use")

    def make(*options: str) -> TestLab:
        if used:
            return TestLab(used, release)
        name = f"test-{release}-{os.getpid()}-{len(made)}"
        made.append(TestLab(name, release, options))
        made[-1].up()
        return made[-1]

    yield make
    for one in made:
        one.down()
