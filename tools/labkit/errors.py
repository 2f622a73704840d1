"""What the lab reports to its user."""


class LabError(Exception):
    """Something the user must know, in one line; the lab ends with exit code 1."""


class CommandError(LabError):
    """A program ended with an error."""

    def __init__(self, args: list[str], code: int, output: str) -> None:
        self.command = args
        self.code = code
        self.output = output
        tail = output.strip().splitlines()[-1:] or ["no output"]
        super().__init__(f"{' '.join(args)}: exit code {code}: {tail[0]}")


class SignalError(Exception):
    """A signal asked the lab to stop what it is doing."""
