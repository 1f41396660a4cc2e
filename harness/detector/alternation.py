"""The load goes to each server in turn, in blocks of time, whatever they do."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.config import NS_PER_S
from harness.detector.failover import Move, Why

TURN_NS = 5 * NS_PER_S
"""How long a server has the load."""


@dataclass
class Alternation:
    """Block k of the run belongs to server k mod ``servers``."""

    servers: int
    active: int = 0

    @property
    def in_use(self) -> tuple[int, ...]:
        """The server whose turn it is."""
        return (self.active,)

    @property
    def all_out(self) -> bool:
        """Never."""
        return False

    def absent(self, server: int) -> None:
        """Its turns come all the same, so that each has the same share of the time."""

    def failed(
        self, server: int, now_ns: int, *, hard_down: bool, connected: Sequence[bool]
    ) -> Move:
        """Nothing moves."""
        return Move(Why.NONE)

    def out_until_ns(self, server: int) -> int:
        """There are no cool-downs."""
        return 0

    def turn(self, now_ns: int) -> list[int]:
        """The server whose turn begins."""
        before, self.active = self.active, now_ns // TURN_NS % self.servers
        return [self.active] if self.active != before else []
