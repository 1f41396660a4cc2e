"""SIGINT and SIGTERM during a run: they end it in order instead of killing it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

CAUGHT = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """The signals that came, in order."""

    def __init__(self) -> None:
        self.names: list[str] = []

    @property
    def first(self) -> str | None:
        """The name of the first one."""
        return self.names[0] if self.names else None


@contextmanager
def interrupts_to(target: Callable[[], None]) -> Iterator[Interrupts]:
    """Call ``target`` for every SIGINT and SIGTERM; outside the main thread nothing is caught."""
    seen = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return

    def handle(number: int, frame: FrameType | None) -> None:
        seen.names.append(signal.Signals(number).name)
        target()

    before = {number: signal.signal(number, handle) for number in CAUGHT}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
