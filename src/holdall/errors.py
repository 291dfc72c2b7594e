"""Everything holdall raises on purpose; the class says whose fault it is and carries the exit code.

A message is one sentence: what went wrong, with which thing, and what to do next. Knows nothing of
the rest of the program.
"""


class HoldallError(Exception):
    """The base of every error a user may see; its message is fit to be printed as it is."""

    exit_code = 1


class UsageError(HoldallError):
    """The command line, a manifest or a source folder asks for something that has no meaning."""

    exit_code = 2


class NotFoundError(HoldallError):
    """A named app, version, key, program or file is not there."""

    exit_code = 3


class RemovedError(NotFoundError):
    """It was there a moment ago, and somebody removed it since."""


class UntrustedError(HoldallError):
    """Bytes are whole, but nobody this store trusts answers for them."""

    exit_code = 4


class UnknownKeyError(UntrustedError):
    """A release is signed by a key this store has not met yet."""


class ChangedKeyError(UntrustedError):
    """An app whose publisher is known arrives signed by another key."""


class DowngradeError(UntrustedError):
    """A release is older than one this store has accepted before."""


class ConsentError(UntrustedError):
    """An update asks for more permissions than the version before it, and nobody has agreed."""


class CorruptError(HoldallError):
    """Bytes do not match the digest, the format or the signature they were promised with."""

    exit_code = 4


class CutShortError(CorruptError):
    """A stream ended before its end; what came of it is kept, and is whole."""


class BusyError(HoldallError):
    """Another process is writing to the same store."""

    exit_code = 5


class NoSpaceError(HoldallError):
    """The file system is full, or its quota is."""

    exit_code = 6


class DeniedError(HoldallError):
    """The operating system forbids what was asked."""

    exit_code = 6


class UnsupportedError(HoldallError):
    """This machine, kernel or form cannot do what was asked, or a program it takes is missing."""

    exit_code = 7


class NetworkError(HoldallError):
    """A server cannot be reached, or does not answer as it should, after all tries."""


class ProgramError(HoldallError):
    """A program that holdall called ended with a failure of its own."""


class NoGainError(HoldallError):
    """What was asked for works, but has no use: it costs about as much as doing without it."""
