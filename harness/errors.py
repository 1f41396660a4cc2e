"""The errors a person can act on: one line each, with the exit code they end in."""


class HarnessError(Exception):
    """A failure with a one-line message: what was wrong, the value, what to do."""

    exit_code = 1


class UsageError(HarnessError):
    """The command or configuration cannot be meant as given."""

    exit_code = 2


class NotStartedError(HarnessError):
    """No load was sent: a server is not ready, signatures differ, no resources."""

    exit_code = 3


class InvalidRunError(HarnessError):
    """The run ended, but its figures cannot be trusted."""

    exit_code = 4


class ResultsError(HarnessError):
    """Results could not be written."""

    exit_code = 5
