"""Which servers a balancing policy uses: failing ones are left out for a while, or none ever is."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.detector.failover import (
    COOL_DOWN_NS,
    DWELL_NS,
    FLAP_NS,
    FLAP_SWITCHES,
    Move,
    Standing,
    Why,
)


@dataclass
class Ejection:
    """``--eject``: a failing server is left out for its cool-down, then used again.

    When all are out, all are used until the first comes back by time.
    """

    servers: int
    dwell_ns: int = DWELL_NS
    cool_down_ns: int = COOL_DOWN_NS
    standings: list[Standing] = field(default_factory=list)
    out: set[int] = field(default_factory=set)
    ejected_ns: list[deque[int]] = field(default_factory=list)  # by server, the newest three

    def __post_init__(self) -> None:
        self.standings = [Standing() for _ in range(self.servers)]
        self.ejected_ns = [deque(maxlen=FLAP_SWITCHES) for _ in range(self.servers)]

    @property
    def in_use(self) -> tuple[int, ...]:
        """The servers the load goes to, ascending; never empty."""
        if self.all_out:
            return tuple(range(self.servers))
        return tuple(server for server in range(self.servers) if server not in self.out)

    @property
    def all_out(self) -> bool:
        """Every server is left out, so that all are used."""
        return len(self.out) == self.servers

    def absent(self, server: int) -> None:
        """Missing at the start: it begins in cool-down."""
        self._leave_out(server, 0)

    def failed(
        self, server: int, now_ns: int, *, hard_down: bool, connected: Sequence[bool]
    ) -> Move:
        """The server has failed by a rule. It is left out here."""
        if server in self.out:
            return Move(Why.ALL_BAD if self.all_out else Why.NONE)
        standing = self.standings[server]
        dwelling = standing.ejections and now_ns - standing.used_since_ns < self.dwell_ns
        if dwelling and not hard_down:
            return Move(Why.DWELL)
        others = [one for one in self.in_use if one != server]
        if others and not any(connected[one] for one in others):
            return Move(Why.ALL_BAD)
        self._leave_out(server, now_ns)
        return Move(Why.ALL_BAD if self.all_out else Why.EJECT)

    def out_until_ns(self, server: int) -> int:
        """When the cool-down it had last is over, 0 without one."""
        return self.standings[server].cool_until_ns

    def turn(self, now_ns: int) -> list[int]:
        """Servers whose cool-down is over, ascending: they are used again."""
        back = [one for one in sorted(self.out) if now_ns >= self.standings[one].cool_until_ns]
        for server in back:
            self.out.discard(server)
            self.standings[server].used_since_ns = now_ns
        return back

    def _leave_out(self, server: int, now_ns: int) -> None:
        standing, ejected_ns = self.standings[server], self.ejected_ns[server]
        standing.eject(now_ns, self.cool_down_ns)
        ejected_ns.append(now_ns)
        if len(ejected_ns) == FLAP_SWITCHES:
            # A server that flaps is kept out, not in: no slot has to pay for that.
            standing.cool_until_ns = max(standing.cool_until_ns, ejected_ns[0] + FLAP_NS)
        self.out.add(server)


@dataclass
class Fixed(Ejection):
    """A balancing policy without ``--eject``: every server is used, whatever it does.

    One that was missing at the start is left out for one cool-down.
    """

    def failed(
        self, server: int, now_ns: int, *, hard_down: bool, connected: Sequence[bool]
    ) -> Move:
        """Nothing moves."""
        return Move(Why.NONE)
