"""What one bucket says about one server; evidence of several workers adds up."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Evidence:
    """Counts of decided slots in one bucket of scheduled time (50 ms), client-late ones left out.

    ``slow`` are the violations without any answer by t_sched + T, dropped at the cap included; the
    others had a status. ``late_failed`` are client-late slots that ended in an error or had no
    answer T after they were taken and sent: the client's lateness does not explain them, so
    hard-down counts them. ``late_answered`` are those with an OK answer by then: the server lives.
    """

    decided: int = 0
    violations: int = 0
    slow: int = 0
    late_failed: int = 0
    late_answered: int = 0

    def __add__(self, other: "Evidence") -> "Evidence":
        return Evidence(
            self.decided + other.decided,
            self.violations + other.violations,
            self.slow + other.slow,
            self.late_failed + other.late_failed,
            self.late_answered + other.late_answered,
        )

    @property
    def in_time(self) -> int:
        """Decided and no violation."""
        return self.decided - self.violations


EMPTY = Evidence()
