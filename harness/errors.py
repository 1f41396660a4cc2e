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


class InterruptedRunError(HarnessError):
    """A signal came before slot 0: nothing was measured."""

    def __init__(self, signal_name: str) -> None:
        super().__init__(f"interrupted by {signal_name} before the first slot; nothing measured")
        self.exit_code = 143 if signal_name == "SIGTERM" else 130
