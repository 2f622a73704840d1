"""The command line that carries an operation in a stock opcode."""

import shlex


def render(operation: str, **options: str) -> str:
    """Return the command line of an operation."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return shlex.join([operation, *words])


def parse(text: str) -> tuple[str, dict[str, str]] | None:
    """Return an operation and its options; None for what has not this form."""
    try:
        operation, *words = shlex.split(text)
    except ValueError:
        return None
    options = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name.startswith("--") or not equals:
            return None
        options[name.removeprefix("--").replace("-", "_")] = value
    return operation, options
