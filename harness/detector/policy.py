"""Which servers the load goes to: what every policy answers, and which policy a run has."""

from collections.abc import Sequence
from typing import Protocol

from harness.config import Switching
from harness.detector.alternation import Alternation
from harness.detector.ejection import Ejection, Fixed
from harness.detector.failover import Failover, Move


class Policy(Protocol):
    """Which servers are in use; moved by failures and by time, in ns of the run."""

    @property
    def in_use(self) -> tuple[int, ...]:
        """The servers the load goes to, ascending; never empty."""

    @property
    def all_out(self) -> bool:
        """Every server is left out, so that all are used."""

    def absent(self, server: int) -> None:
        """A server that is missing at the start: it begins in cool-down."""

    def failed(
        self, server: int, now_ns: int, *, hard_down: bool, connected: Sequence[bool]
    ) -> Move:
        """A server has failed by a rule; ``connected`` by server. The move is carried out here."""

    def out_until_ns(self, server: int) -> int:
        """When the cool-down it had last is over, 0 without one."""

    def turn(self, now_ns: int) -> list[int]:
        """Servers that came back into use by time alone, ascending."""


def make_policy(switching: Switching, servers: int, absent: Sequence[int]) -> Policy:
    """The policy of a run of ``servers`` servers, of which ``absent`` are missing at its start."""
    # The plain rule knows no hard-down, which alone would count within a dwell.
    dwell_ns = 0 if switching.rule == "plain" else switching.dwell_ns
    policy: Policy
    if switching.policy == "alternate":
        policy = Alternation(servers)
    elif switching.policy == "failover":
        policy = Failover(servers, dwell_ns=dwell_ns, cool_down_ns=switching.cool_down_ns)
    elif switching.eject:
        policy = Ejection(servers, dwell_ns=dwell_ns, cool_down_ns=switching.cool_down_ns)
    else:
        policy = Fixed(servers, cool_down_ns=switching.cool_down_ns)
    for server in absent:
        policy.absent(server)
    return policy
