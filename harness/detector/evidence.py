"""What one bucket says about one server; evidence of several workers adds up."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Evidence:
    """Counts of decided slots in one bucket of scheduled time (50 ms), client-late ones left out.

    ``slow`` are the violations without any answer by t_sched + T; the others had a status.
    ``late_overdue`` are client-late slots without an answer T after their own t_taken: the client's
    lateness does not explain them, so hard-down counts them. ``late_answered`` are client-late
    slots that were answered by then: the server lives.
    """

    decided: int = 0
    violations: int = 0
    slow: int = 0
    late_overdue: int = 0
    late_answered: int = 0

    def __add__(self, other: "Evidence") -> "Evidence":
        return Evidence(
            self.decided + other.decided,
            self.violations + other.violations,
            self.slow + other.slow,
            self.late_overdue + other.late_overdue,
            self.late_answered + other.late_answered,
        )

    @property
    def in_time(self) -> int:
        """Decided and no violation."""
        return self.decided - self.violations


EMPTY = Evidence()
