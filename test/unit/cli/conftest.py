"""Ganeti's programs for tests: real options and printing, and a queue of jobs."""

import optparse

import pytest
from ganeti import cli


class Queue:
    """Ganeti's job queue: keeps what was submitted, and gives the result back."""

    def __init__(self):
        #: What happened, in order: opcodes, and what a test adds.
        self.events = []
        #: What the next jobs come to.
        self.result = []

    def send(self, ops, cl=None):
        self.events += ops
        return len(self.events)

    def poll(self, job_id, cl=None, feedback_fn=None, reporter=None):
        if isinstance(self.result, Exception):
            raise self.result
        return [self.result]

    @property
    def op(self):
        """The one opcode that was submitted."""
        (op,) = self.events
        return op


@pytest.fixture
def queue(monkeypatch):
    queue = Queue()
    monkeypatch.setattr(cli, "SendJob", queue.send)
    monkeypatch.setattr(cli, "PollJob", queue.poll)
    monkeypatch.setattr(cli, "GetClient", lambda: "client")
    return queue


@pytest.fixture
def options():
    """What Ganeti makes of a command's options."""
    lists = []

    def parse(commands, name, *words):
        found = cli.COMMON_OPTS + commands[name][2]
        defaults = [one.default for one in found if isinstance(one.default, list)]
        lists.extend((default, list(default)) for default in defaults)
        return optparse.OptionParser(option_list=found).parse_args(list(words))

    yield parse
    # A program parses once; what is given is appended to the defaults themselves.
    for default, before in reversed(lists):
        default[:] = before
