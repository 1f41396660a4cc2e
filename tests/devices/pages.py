"""Metrics pages of Triton servers, as recorded; and a server that hands out pages."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

FIRST = "GPU-340cec52-80ba-c0df-8511-5f9680aae0ed"
SECOND = "GPU-340cec52-80ba-c0df-8511-5f9680aae0ff"

CPU_PAGE = """\
# HELP nv_inference_request_success Number of successful inference requests, all batch sizes
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="identity",version="1"} 5990
nv_inference_request_success{model="delayed",version="1"} 0
# HELP nv_inference_request_duration_us Cumulative inference request duration in microseconds
# TYPE nv_inference_request_duration_us counter
nv_inference_request_duration_us{model="identity",version="1"} 1837482
# HELP nv_cpu_utilization CPU utilization rate [0.0 - 1.0]
# TYPE nv_cpu_utilization gauge
nv_cpu_utilization 0.2475247524752475
# HELP nv_cpu_memory_total_bytes CPU total memory (RAM), in bytes
# TYPE nv_cpu_memory_total_bytes gauge
nv_cpu_memory_total_bytes 16766169088
# HELP nv_pinned_memory_pool_total_bytes Pinned memory pool total memory size, in bytes
# TYPE nv_pinned_memory_pool_total_bytes gauge
nv_pinned_memory_pool_total_bytes 268435456
"""

GPU_PAGE = (
    CPU_PAGE
    + f"""\
# HELP nv_gpu_utilization GPU utilization rate [0.0 - 1.0)
# TYPE nv_gpu_utilization gauge
nv_gpu_utilization{{gpu_uuid="{FIRST}"}} 0.000000
nv_gpu_utilization{{gpu_uuid="{SECOND}"}} 0.250000
# HELP nv_gpu_memory_total_bytes GPU total memory, in bytes
# TYPE nv_gpu_memory_total_bytes gauge
nv_gpu_memory_total_bytes{{gpu_uuid="{FIRST}"}} 16101933056.000000
nv_gpu_memory_total_bytes{{gpu_uuid="{SECOND}"}} 16101933056.000000
# HELP nv_gpu_memory_used_bytes GPU used memory, in bytes
# TYPE nv_gpu_memory_used_bytes gauge
nv_gpu_memory_used_bytes{{gpu_uuid="{FIRST}"}} 617611264.000000
nv_gpu_memory_used_bytes{{gpu_uuid="{SECOND}"}} 617611264.000000
# HELP nv_gpu_power_usage GPU power usage in watts
# TYPE nv_gpu_power_usage gauge
nv_gpu_power_usage{{gpu_uuid="{FIRST}"}} 20.085000
nv_gpu_power_usage{{gpu_uuid="{SECOND}"}} 48.500000
# HELP nv_gpu_power_limit GPU power management limit in watts
# TYPE nv_gpu_power_limit gauge
nv_gpu_power_limit{{gpu_uuid="{FIRST}"}} 60.000000
nv_gpu_power_limit{{gpu_uuid="{SECOND}"}} 60.000000
# HELP nv_energy_consumption GPU energy consumption in joules since the Triton Server started
# TYPE nv_energy_consumption counter
nv_energy_consumption{{gpu_uuid="{FIRST}"}} 320.387000
nv_energy_consumption{{gpu_uuid="{SECOND}"}} 1320.500000
"""
)


def energy_page(uuid: str, joules: float) -> bytes:
    """A GPU that has used so much."""
    return (
        f'nv_gpu_power_limit{{gpu_uuid="{uuid}"}} 300\n'
        f'nv_gpu_memory_total_bytes{{gpu_uuid="{uuid}"}} 85899345920\n'
        f'nv_energy_consumption{{gpu_uuid="{uuid}"}} {joules:.6f}\n'
    ).encode()


def ok(body: bytes, *headers: str) -> bytes:
    """A whole answer."""
    head = "\r\n".join(("HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers))
    return head.encode() + b"\r\n\r\n" + body


class Pages:
    """A server on a free port; ``answer`` gets each connection once its request is in.

    ``requests``: what was asked, the whole head of each.
    """

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self.requests: list[bytes] = []
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def url(self) -> str:
        """As ``--metrics-url`` takes it."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/metrics"

    @property
    def stopping(self) -> bool:
        """For an answer without an end."""
        return self._stopping.is_set()

    def start(self) -> None:
        self._threads[0].start()

    def stop(self) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            socket.create_connection(self._listener.getsockname(), 5).close()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while not self.stopping:
            sock, _ = self._listener.accept()
            thread = threading.Thread(target=self._serve, args=(sock,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            sock.settimeout(5)
            head = b""
            while b"\r\n\r\n" not in head:
                more = sock.recv(65_536)
                if not more:
                    return
                head += more
            self.requests.append(head)
            self._answer(sock)


@contextlib.contextmanager
def serving(answer: Callable[[socket.socket, Pages], None]) -> Iterator[Pages]:
    """A server of pages; ``answer`` gets the connection and the server."""
    pages = Pages(lambda sock: answer(sock, pages))
    pages.start()
    try:
        yield pages
    finally:
        pages.stop()


def page_server(body: Callable[[], bytes]) -> contextlib.AbstractContextManager[Pages]:
    """A well-behaved one; ``body`` is asked for each page anew."""
    return serving(lambda sock, _: sock.sendall(ok(body())))


def slowly(sock: socket.socket, pages: Pages, pieces: Iterator[bytes]) -> None:
    """A piece every 20 ms until the client is gone or the test is over."""
    for piece in pieces:
        if pages.stopping:
            return
        sock.sendall(piece)
        time.sleep(0.02)
