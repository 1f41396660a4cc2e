"""Where the load goes when the active server has failed: dwell, cool-down, flap guard, all bad.

Time is given to it in ns of the run; it has no clock.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from harness.config import NS_PER_S

DWELL_NS = 10 * NS_PER_S
COOL_DOWN_NS = 30 * NS_PER_S
LONGEST_COOL_DOWN_NS = 300 * NS_PER_S
FLAP_SWITCHES = 3
FLAP_NS = 60 * NS_PER_S


class Why(Enum):
    """What came of a failure."""

    SWITCH = "switch"
    EJECT = "eject"  # left out of a balancing policy
    NONE = "none"  # a policy that never moves the load, or a server that is not in use
    DWELL = "dwell"  # only hard-down counts this soon after the server came into use
    FLAPPING = "flapping"  # too many switches lately
    ALL_BAD = "all bad"  # no other server is connected and out of cool-down


@dataclass(frozen=True)
class Move:
    """The answer to a failure. ``to``: the server to switch to, else None."""

    why: Why
    to: int | None = None


@dataclass
class Standing:
    """What is held against one server."""

    ejections: int = 0  # in a row
    cool_until_ns: int = 0
    cool_down_ns: int = 0  # length of the last one
    used_since_ns: int = 0  # when it last came into use

    def eject(self, now_ns: int, cool_down_ns: int) -> None:
        """It failed: it cools down for longer each time in a row."""
        healthy_ns = now_ns - max(self.cool_until_ns, self.used_since_ns)
        if healthy_ns >= self.cool_down_ns:
            self.ejections = 0
        self.ejections += 1
        self.cool_down_ns = min(self.ejections * cool_down_ns, LONGEST_COOL_DOWN_NS)
        self.cool_until_ns = now_ns + self.cool_down_ns


@dataclass
class Failover:
    """The policy ``failover``: one active server, the others stand by in order."""

    servers: int
    active: int = 0
    dwell_ns: int = DWELL_NS
    cool_down_ns: int = COOL_DOWN_NS
    standings: list[Standing] = field(default_factory=list)
    switches_ns: deque[int] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.standings = [Standing() for _ in range(self.servers)]

    @property
    def in_use(self) -> tuple[int, ...]:
        """The active server alone."""
        return (self.active,)

    @property
    def all_out(self) -> bool:
        """Never: the active server stays in use when there is no other."""
        return False

    def absent(self, server: int) -> None:
        """Missing at the start: it begins in cool-down, and the first present one is active."""
        self.standings[server].eject(0, self.cool_down_ns)
        present = (one for one in range(self.servers) if not self.standings[one].ejections)
        self.active = next(present, 0)

    def failed(
        self, server: int, now_ns: int, *, hard_down: bool, connected: Sequence[bool]
    ) -> Move:
        """The server has failed by a rule. A switch is carried out here."""
        if server != self.active:
            return Move(Why.NONE)
        last_ns = self.switches_ns[-1] if self.switches_ns else None
        if last_ns is not None and now_ns - last_ns < self.dwell_ns and not hard_down:
            return Move(Why.DWELL)
        while self.switches_ns and now_ns - self.switches_ns[0] >= FLAP_NS:
            self.switches_ns.popleft()
        following = self._following(now_ns, connected)
        if following is None:
            return Move(Why.ALL_BAD)
        if len(self.switches_ns) >= FLAP_SWITCHES:
            return Move(Why.FLAPPING)
        self.standings[self.active].eject(now_ns, self.cool_down_ns)
        self.standings[following].used_since_ns = now_ns
        self.active = following
        self.switches_ns.append(now_ns)
        return Move(Why.SWITCH, following)

    def out_until_ns(self, server: int) -> int:
        """When the cool-down it had last is over, 0 without one."""
        return self.standings[server].cool_until_ns

    def turn(self, now_ns: int) -> list[int]:
        """Servers that came back into use by time alone: none, ever."""
        return []

    def _following(self, now_ns: int, connected: Sequence[bool]) -> int | None:
        """The first in order that is connected and not in cool-down."""
        for server in range(self.servers):
            if server == self.active or not connected[server]:
                continue
            if now_ns >= self.standings[server].cool_until_ns:
                return server
        return None
