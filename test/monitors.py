"""QEMU's monitor behind the connections of Ganeti 3.0 and 3.1, which keep a record."""

import types

from ganeti import errors


class Qemu:
    """What QEMU is asked, and what it answers."""

    def __init__(self):
        self.asked = []
        self.logged = []
        self.secrets = {}
        self.threads = []
        self.blocks = []
        self.is_open = False

    def commands(self):
        return [command for command, _ in self.asked]

    def answer(self, command, arguments):
        assert self.is_open, f"{command} over no connection"
        self.asked.append((command, arguments))
        if command == "object-add" and arguments["qom-type"] == "iothread":
            assert {"id": arguments["id"]} not in self.threads
            self.threads.append({"id": arguments["id"]})
        elif command == "query-iothreads":
            return self.threads
        elif command == "object-add":
            assert arguments["id"] not in self.secrets
            self.secrets[arguments["id"]] = arguments
        elif command == "object-del":
            del self.secrets[arguments["id"]]
        elif command == "query-block":
            return self.blocks
        elif command == "no":
            raise errors.HypervisorError("QEMU refuses")
        return {}


class Old:
    """Ganeti 3.0's connection, which must not be opened while it is open."""

    def __init__(self, qemu):
        self.qemu = qemu
        self.sock = types.SimpleNamespace(close=lambda: None)

    def connect(self):
        assert not self.qemu.is_open, "it would wait for another greeting"
        self.qemu.is_open = True

    def close(self):
        self.qemu.is_open = False

    def Execute(self, command, arguments=None):
        self.qemu.logged.append(f"{command} {arguments}")
        return self.qemu.answer(command, arguments)

    def _Send(self, message):
        self._answer = self.qemu.answer(message["execute"], message["arguments"])

    def _GetResponse(self, command):
        return self._answer


class New:
    """Ganeti 3.1's connection, whose ``close`` does nothing."""

    def __init__(self, qemu):
        self.qemu = qemu

    def connect(self):
        assert not self.qemu.is_open, "QEMU takes one connection only"
        self.qemu.is_open = True
        self.sock = types.SimpleNamespace(close=self._close)

    def close(self):
        pass

    def _close(self):
        self.qemu.is_open = False

    def execute_qmp(self, command, arguments=None):
        self.qemu.logged.append(f"{command} {arguments}")
        return self.qemu.answer(command, arguments)

    def send_qmp(self, message):
        self._answer = self.qemu.answer(message["execute"], message["arguments"])

    def get_qmp_response(self, command):
        return self._answer
