"""What stops a benchmark; each message says what, which and what next."""


class BenchmarkError(Exception):
    """A measurement that cannot be made, or a program that failed while it was measured."""
