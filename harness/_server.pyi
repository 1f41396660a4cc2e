"""An inference server for tests and self-measurement: epoll, nghttp2, one thread."""

from collections.abc import Callable, Sequence

from typing_extensions import disjoint_base

ACTIONS: dict[str, int]
"""The script's actions by name."""

@disjoint_base
class Server:
    """KServe v2 over gRPC (h2c, prior knowledge) on one thread; ModelInfer runs without the GIL.

    ``handler(method, message)`` answers the other RPCs, under the GIL, with (0, message) or
    (status, text). ``inputs`` and ``outputs`` are (name, datatype, bytes per element, dims);
    ``latency`` is (fixed ns, mu, sigma of ln ns), sigma negative for the fixed one; ``script``
    holds (at_ns, action, share, latency_ns, status). Bound and listening once constructed.

    Raises:
        OSError: the port or the journal cannot be had.
        ValueError: a name is empty or longer than 128 bytes, or too many tensors.
    """

    port: int
    def __init__(
        self,
        handler: Callable[[str, bytes], tuple[int, bytes]],
        *,
        host: str,
        port: int,
        name: str,
        inputs: Sequence[tuple[str, str, int, tuple[int, ...]]],
        outputs: Sequence[tuple[str, str, int, tuple[int, ...]]],
        max_batch: int,
        capacity: int,
        latency: tuple[int, float, float],
        seed: int,
        script: Sequence[tuple[int, int, float, int, int]],
        journal: str | None,
        max_request_bytes: int,
        max_connections: int,
        spin: bool,
    ) -> None: ...
    def run(self) -> None:
        """Serves until stop(). Raises OSError if the journal or the listening port is lost."""

    def stop(self) -> None:
        """Makes run() return within a turn of its loop; from any thread or signal handler."""

    def wake_fd(self) -> int:
        """A byte written to this descriptor makes the loop look at pending Python signals."""

    def close(self) -> None:
        """Closes every socket and cuts the journal to size. Raises OSError if that fails."""

    def counters(self) -> dict[str, int]:
        """Counts and sums of ns since the start, of requests that ended."""

def die_with_parent(pid: int) -> None:
    """SIGKILL for this process when its parent, which must be ``pid``, ends.

    The process ends at once if its parent is another. Raises OSError if that cannot be asked for.
    """
