"""A worker's connections to every server: opened, written, read, replaced."""

from collections.abc import Sequence
from typing import Any

from harness._ledger import Ledger

class Lanes:
    """``lanes`` connections to each of ``endpoints``, and what is sent over them.

    The arguments are those of ``Engine``. Raises ValueError, OSError or MemoryError when they
    cannot be set up.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        control_fd: int,
        body: bytes,
        id_offset: int,
        outputs: int,
        response_limit_bytes: int,
        response_bytes: int,
        endpoints: Sequence[tuple[bytes, Sequence[tuple[bytes, bytes]]]],
        lanes: int,
    ) -> None: ...
    def connect(self, patience_ns: int, required: Sequence[bool]) -> bool:
        """As ``Engine.connect``."""

    def settled(self) -> list[int]:
        """As ``Engine.settled``."""

    def report(self) -> list[dict[str, Any]]:
        """As ``Engine.connection_report``."""
