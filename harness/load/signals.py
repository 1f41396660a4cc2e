"""SIGINT and SIGTERM during a run: they end it in order instead of killing it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from harness.errors import InterruptedRunError

CAUGHT = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """The signals that came, in order, and who is told.

    ``target`` None: the load has not begun, and a signal raises InterruptedRunError.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.target: Callable[[], None] | None = None

    @property
    def first(self) -> str | None:
        """The name of the first one."""
        return self.names[0] if self.names else None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take one signal."""
        self.names.append(signal.Signals(number).name)
        if self.target is None:
            raise InterruptedRunError(self.names[0])
        self.target()


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Catch SIGINT and SIGTERM; outside the main thread nothing is caught."""
    seen = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    before = {number: signal.signal(number, seen.handle) for number in CAUGHT}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
