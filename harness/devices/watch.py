"""Readings of the GPUs behind a run's servers, which never hold the run up."""

import ipaddress
import threading
import time
from collections.abc import Callable, Mapping

from harness.config import BenchConfig
from harness.control.address import Address, parse_address, resolve
from harness.devices.device import DeviceUse, Readings
from harness.devices.metrics_page import fetch
from harness.devices.metrics_url import MetricsUrl, metrics_urls
from harness.devices.nvml import Nvml, open_nvml
from harness.devices.triton_metrics import read_page
from harness.errors import NotStartedError

FIND_S = 1.0
HERE = -1
"""The place of this machine's own GPUs among the readings; a server's is its index."""

Read = Callable[[float], Readings]
Seen = Mapping[int, Readings]


class DeviceWatch:
    """The GPUs behind ``config.urls``; absent where nothing tells of them.

    This machine's are read through NVML if a server is on it, and each server's metrics page is
    asked. A page that names GPUs says which ones its server uses; without one they are all of this
    machine's. Embedded servers use none.

    ``open_library``: where NVML comes from. Raises UsageError for a metrics URL that is none.
    """

    def __init__(
        self, config: BenchConfig, open_library: Callable[[], Nvml | None] = open_nvml
    ) -> None:
        self._open_library = open_library
        self._servers = [parse_address(url) for url in config.urls]
        self._here = [False] * len(self._servers)
        self._nvml: Nvml | None = None
        self._first: Look | None = None
        urls = metrics_urls(self._servers, config.metrics_urls)
        self._readers: dict[int, Read] = {}
        if not config.embedded:
            pages = {index: url for index, url in enumerate(urls) if url is not None}
            self._readers = {HERE: self._read_here}
            self._readers |= {index: _page_reader(url) for index, url in pages.items()}

    def find(self) -> None:
        """Begin to look who answers at all; returns at once."""
        self._first = Look(self._readers, time.monotonic() + FIND_S)

    def look(self, deadline_s: float) -> "Look":
        """Begin to read all that was found; what ``find`` has not seen by then is left out."""
        t_end_s = time.monotonic() + deadline_s
        found = {} if self._first is None else self._first.seen(t_end_s)
        answering = {place: self._readers[place] for place, readings in found.items() if readings}
        return Look(answering, t_end_s)

    def uses(self, before: Seen, after: Seen) -> list[list[DeviceUse]]:
        """By server, from what was seen before the load and after it."""
        return [self._of_server(index, before, after) for index in range(len(self._servers))]

    def _of_server(self, index: int, before: Seen, after: Seen) -> list[DeviceUse]:
        here = before.get(HERE, {}) if self._here[index] else {}
        page = before.get(index, {})
        uses = []
        for uuid in page or here:
            place = HERE if uuid in here else index
            uses.append(DeviceUse(before[place][uuid], after.get(place, {}).get(uuid)))
        return uses

    def _read_here(self, t_end_s: float) -> Readings:
        if self._nvml is None:
            self._here = [is_here(one, t_end_s) for one in self._servers]
            self._nvml = self._open_library() if any(self._here) else None
        return {} if self._nvml is None else self._nvml.read()


class Look:
    """Readers at work, each in a thread that nobody has to wait for."""

    def __init__(self, readers: Mapping[int, Read], t_end_s: float) -> None:
        self._t_end_s = t_end_s
        self._seen: dict[int, Readings] = {}
        self._threads = [
            threading.Thread(target=self._run, args=one, name="devices", daemon=True)
            for one in readers.items()
        ]
        for thread in self._threads:
            thread.start()

    def seen(self, t_end_s: float | None = None) -> Seen:
        """What was read in time: by the look's own end, and by ``t_end_s`` if that is sooner."""
        last_s = self._t_end_s if t_end_s is None else min(t_end_s, self._t_end_s)
        for thread in self._threads:
            thread.join(max(0.0, last_s - time.monotonic()))
        return dict(self._seen)

    def _run(self, place: int, read: Read) -> None:
        try:
            self._seen[place] = read(self._t_end_s)
        except Exception:
            # Whatever a stranger's page or a driver led a library to: nothing is known, no more.
            return


def is_here(address: Address, t_end_s: float) -> bool:
    """Whether the address is one of this machine's; waits until ``t_end_s`` at most."""
    try:
        found = resolve(address, max(0.01, t_end_s - time.monotonic()))
    except NotStartedError:
        return False
    first = ipaddress.ip_address(found[0][1][0].partition("%")[0])
    return first.is_loopback or first in _own_addresses()


def _own_addresses() -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    # Most runs do without it: their servers are embedded, or at the loopback.
    import psutil

    own = set()
    for interface in psutil.net_if_addrs().values():
        for one in interface:
            try:
                own.add(ipaddress.ip_address(one.address.partition("%")[0]))
            except ValueError:
                continue  # a hardware address
    return own


def _page_reader(url: MetricsUrl) -> Read:
    def read(t_end_s: float) -> Readings:
        page = fetch(url, t_end_s)
        return {} if page is None else read_page(page, time.monotonic_ns())

    return read
