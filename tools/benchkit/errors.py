"""What a benchmark reports to its user."""


class BenchError(Exception):
    """A run failed; the benchmark ends with exit code 1."""
