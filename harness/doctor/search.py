"""The search for the highest rate that is held: doubling, then bisection. Pure."""

from dataclasses import dataclass

FIRST_RATE = 10_000.0
LOWEST_RATE = 625.0
HIGHEST_RATE = 640_000.0
"""Beyond what one connection's server can answer."""
CLOSE_ENOUGH = 1.1


@dataclass(frozen=True)
class Bracket:
    """Rates in requests/s: the highest held, the lowest above it that was not; None: none was."""

    held: float | None = None
    broken: float | None = None

    def next_rate(self) -> float | None:
        """What to try next; None when the search is over.

        Doubles or halves until there are both ends, then bisects until they are within 10 %.
        """
        if self.held is None:
            if self.broken is None:
                return FIRST_RATE
            return self.broken / 2 if self.broken > LOWEST_RATE else None
        if self.broken is None:
            return self.held * 2 if self.held < HIGHEST_RATE else None
        if self.broken <= self.held * CLOSE_ENOUGH:
            return None
        return _two_digits((self.held + self.broken) / 2)

    def after(self, rate: float, held: bool) -> "Bracket":
        """The bracket once ``rate``, as ``next_rate`` gave it, was tried."""
        return Bracket(rate, self.broken) if held else Bracket(self.held, rate)


def _two_digits(rate: float) -> float:
    """A rate that reads well; between bounds over 10 % apart it stays between them."""
    return float(f"{rate:.2g}")
