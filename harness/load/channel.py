"""The control pipe between coordinator and worker: one JSON object a line, over a socket pair."""

import json
import select
import socket
import time
from typing import Any

LINE_LIMIT_BYTES = 1 << 20


class ChannelClosed(Exception):
    """The other side is gone."""


class Channel:
    """One end of a control pipe. Empty lines are wake-ups and carry nothing."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._received = b""

    def fileno(self) -> int:
        """The descriptor, for poll."""
        return self.sock.fileno()

    def send(self, message: dict[str, Any]) -> None:
        """Send one message. Raises ChannelClosed."""
        self._send(json.dumps(message).encode() + b"\n")

    def wake(self) -> None:
        """Get the other side's attention, without a word or a wait. Raises ChannelClosed."""
        try:
            self.sock.send(b"\n", socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass  # it has been woken often enough, and reads when it can
        except OSError:
            raise ChannelClosed from None

    def receive(self, timeout_s: float | None) -> dict[str, Any] | None:
        """The next message, or None when none came in time. Raises ChannelClosed."""
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            while b"\n" in self._received:
                line, self._received = self._received.split(b"\n", 1)
                if line:
                    message: dict[str, Any] = json.loads(line)
                    return message
            left_s = None if end_s is None else max(0.0, end_s - time.monotonic())
            if not select.select([self.sock], [], [], left_s)[0]:
                return None
            try:
                data = self.sock.recv(65536)
            except ConnectionError:
                data = b""
            if not data or len(self._received) > LINE_LIMIT_BYTES:
                raise ChannelClosed
            self._received += data

    def close(self) -> None:
        """Close this end."""
        self.sock.close()

    def _send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:
            raise ChannelClosed from None
