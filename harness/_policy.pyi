"""Which server the next slot is handed to; each worker picks for itself."""

from collections.abc import Collection, Sequence

class Policy:
    """One worker's policy: ``failover``, ``round-robin``, ``least-outstanding`` or ``weighted``.

    ``weights``: one per server, used by ``weighted`` alone. A pick stands until ``took`` says that
    a slot was handed. Raises ValueError or IndexError for servers that are not there.
    """

    def __init__(self, name: str, weights: Sequence[int], seed: int) -> None: ...
    def pick(self, in_use: Collection[int], in_flight: Sequence[int], cap: int) -> int | None:
        """A server in use with fewer than ``cap`` in flight; None if there is none."""

    def took(self, server: int) -> None:
        """The slot was handed to this server, the one picked last. Full ones earn no turns."""

    @property
    def turn(self) -> int:
        """The server that the last pick would have gone to, had it had room."""

    def pick_ns(self, in_use: Collection[int], picks: int) -> tuple[float, list[int]]:
        """Pick so often without an end of any request: ns a pick, and picks by server."""
