"""SIGINT and SIGTERM in an examination of many runs: none gets lost between them."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.errors import InterruptedRunError
from harness.load.signals import CAUGHT, interrupts


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """A signal raises InterruptedRunError in the block; so does the callable, later.

    A run inside has handlers of its own and may end in order; the callable, called after it, tells
    of a signal that came meanwhile. Outside the main thread nothing is caught.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    reader, writer = socket.socketpair()

    def check() -> None:
        try:
            noticed = reader.recv(4096)
        except BlockingIOError:
            return
        came = [number for number in CAUGHT if number in noticed]
        if came:
            raise InterruptedRunError(came[0].name)

    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            with interrupts():
                yield check
        finally:
            signal.set_wakeup_fd(before)
