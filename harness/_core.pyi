"""The worker's hot loop: slots to requests, answers to records, without the GIL."""

from collections.abc import Sequence
from typing import Any, Final

from harness._ledger import Ledger
from harness._plan import Plan
from harness._policy import Policy

PHASE_ENDS: Final[tuple[str, ...]]

class Engine:
    """The native transport of one worker: nghttp2 over epoll.

    ``body`` is the gRPC message of every request with its 5-byte prefix; the 16 bytes at
    ``id_offset`` become the slot's id. ``endpoints``: for each server its struct sockaddr and the
    header fields to send. ``lanes``: connections per server. Without ``sleeps`` it polls all the
    time, else until a guard's width before a slot is due. ``shares_cpu``: with another worker,
    which is let in while this one spins. Raises ValueError, OSError or MemoryError when it cannot
    be set up.
    """

    def __init__(
        self,
        ledger: Ledger,
        policy: Policy,
        worker: int,
        workers: int,
        *,
        control_fd: int,
        body: bytes,
        id_offset: int,
        outputs: int,
        response_limit_bytes: int,
        response_bytes: int,
        endpoints: Sequence[tuple[bytes, Sequence[tuple[bytes, bytes]]]],
        lanes: int,
        spin: bool,
        sleeps: bool,
        shares_cpu: bool,
        cancel_expired: bool,
    ) -> None: ...
    def calibrate(self, budget_ns: int, oversleeps_ns: Sequence[int]) -> int:
        """Learn from sleeps how much earlier than a slot to wake (ns, 20 to 150 us), and return it.

        Without ``spin`` ``budget_ns`` is what may be spun for each slot; see ``WakeGuard``.
        Raises ValueError without sleeps.
        """

    def connect(self, patience_ns: int, required: Sequence[bool]) -> bool:
        """Open every connection; True once those to ``required`` servers are settled.

        False when patience ends before.
        """

    def settled(self) -> list[int]:
        """Per server: connections that are ready."""

    def connection_report(self) -> list[dict[str, Any]]:
        """Per server: connects, losses, and the first error answer's status and message."""

    def run(self, plan: Plan, prefix: str, origin_ns: int, drain_ns: int) -> str:
        """Send one plan; returns one of PHASE_ENDS.

        ``origin_ns`` is the CLOCK_MONOTONIC time of its start. Answers are waited for until
        ``drain_ns`` after its end or cut.
        """
