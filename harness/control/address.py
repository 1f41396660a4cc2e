"""A server's address as given with ``-u``, and the socket addresses behind it."""

import ipaddress
import re
import selectors
import socket
import struct
import threading
import time
from dataclasses import dataclass

from harness.errors import NotStartedError, UsageError
from harness.untrusted import clean_text

RESOLVE_DEADLINE_S = 3.0
MAX_SOCKET_ADDRESSES = 8

SocketAddress = tuple[int, tuple[str, int] | tuple[str, int, int, int]]
"""(AF_INET or AF_INET6, what ``socket.connect`` takes)."""


class UnresolvedError(NotStartedError):
    """A server's name has no address: a mistake in ``-u`` more often than a server that is down."""


_HOST = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
    r"(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?"
)


@dataclass(frozen=True)
class Address:
    """Where a server listens. ``host`` is a name or an IP address without brackets."""

    host: str
    port: int

    @property
    def canonical(self) -> str:
        """``host:port`` for display and as the server's key in results; IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """``host:port`` or ``[::1]:port``.

    Raises UsageError: credentials (never echoed), a scheme, a path, no port or one out of range.
    """
    words = text.strip()
    if "@" in words:
        raise UsageError(
            "a server address carries credentials (not shown); write host:port, and headers with -H"
        )
    scheme, mark, rest = words.partition("://")
    # What follows the first of these may hold a token: it is not shown either.
    place = re.split(r"[/?#]", rest if mark else words, maxsplit=1)[0]
    shown = clean_text(place, 80)
    if mark:
        raise UsageError(
            f"server address has a scheme '{clean_text(scheme, 20)}://';"
            f" write {shown or 'host:port'}"
        )
    if place != words:
        raise UsageError(f"server address has a path after '{shown}'; write host:port alone")
    host, port_text = _split(place, shown)
    if re.fullmatch(r"[0-9]{1,5}", port_text) is None or not 1 <= int(port_text) <= 65_535:
        raise UsageError(
            f"server address '{shown}': port '{clean_text(port_text, 20)}' is not within 1..65535"
        )
    return Address(host, int(port_text))


def _split(place: str, shown: str) -> tuple[str, str]:
    if place.startswith("["):
        inside, bracket, after = place[1:].partition("]")
        try:
            host = str(ipaddress.IPv6Address(inside))
        except ValueError:
            raise UsageError(
                f"server address '{shown}' has no IPv6 address in its brackets; write [::1]:8001"
            ) from None
        if not bracket or not after.startswith(":"):
            raise UsageError(f"server address '{shown}' has no port; write [{host}]:8001")
        return host, after[1:]
    host, colon, port_text = place.rpartition(":")
    if not colon:
        raise UsageError(f"server address '{shown}' has no port; write {shown or 'host'}:8001")
    if ":" in host:
        raise UsageError(
            f"server address '{shown}': an IPv6 address needs brackets; write [::1]:8001"
        )
    if _HOST.fullmatch(host) is None:
        raise UsageError(f"server address '{shown}' has no valid host name; write host:port")
    return host.lower(), port_text


def resolve(address: Address, deadline_s: float = RESOLVE_DEADLINE_S) -> tuple[SocketAddress, ...]:
    """The TCP socket addresses of ``address``, those that accept a connection first.

    The order is getaddrinfo's otherwise. Takes ``deadline_s`` at most; connections made to find
    the order are closed at once. Raises UnresolvedError if the name cannot be resolved in time.
    """
    t_end_s = time.monotonic() + deadline_s
    found = _look_up(address, deadline_s)
    if len(found) == 1:
        return found
    reached = _reachable(found, t_end_s)
    return tuple(sorted(found, key=lambda one: one not in reached))


def _look_up(address: Address, deadline_s: float) -> tuple[SocketAddress, ...]:
    answers: list[tuple[SocketAddress, ...] | OSError | UnicodeError] = []

    def ask() -> None:
        try:
            infos = socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
        except (OSError, UnicodeError) as error:
            answers.append(error)
            return
        wanted = (socket.AF_INET, socket.AF_INET6)
        pairs = ((int(info[0]), info[4]) for info in infos if info[0] in wanted)
        answers.append(tuple(dict.fromkeys(pairs))[:MAX_SOCKET_ADDRESSES])  # type: ignore[arg-type]

    # getaddrinfo cannot be interrupted: a thread that nobody waits for may outlive the deadline.
    thread = threading.Thread(target=ask, name="resolve", daemon=True)
    thread.start()
    thread.join(deadline_s)
    if not answers:
        raise UnresolvedError(
            f"server {address.canonical}: its name was not resolved within {deadline_s:g} s;"
            " check the name server, or give an IP address"
        )
    answer = answers[0]
    if isinstance(answer, OSError):
        raise UnresolvedError(
            f"server {address.canonical}: its name cannot be resolved"
            f" ({clean_text(answer.strerror or 'no reason given')}); check -u"
        )
    if isinstance(answer, UnicodeError) or not answer:
        raise UnresolvedError(f"server {address.canonical}: its name has no IP address; check -u")
    return answer


def _reachable(found: tuple[SocketAddress, ...], t_end_s: float) -> set[SocketAddress]:
    """Those that accept a connection before the first reachable one has been waited for 0.2 s."""
    reached: set[SocketAddress] = set()
    with selectors.DefaultSelector() as selector:
        try:
            for one in found:
                try:
                    sock = socket.socket(one[0], socket.SOCK_STREAM)
                except OSError:
                    continue  # no such address family on this host
                sock.setblocking(False)
                selector.register(sock, selectors.EVENT_WRITE, one)
                sock.connect_ex(one[1])
            while len(selector.get_map()) and (left_s := t_end_s - time.monotonic()) > 0:
                for key, _ in selector.select(left_s):
                    sock = key.fileobj  # type: ignore[assignment]
                    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                        reached.add(key.data)
                        t_end_s = min(t_end_s, time.monotonic() + 0.2)
                    selector.unregister(sock)
                    sock.close()
        finally:
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
    return reached


def pack_socket_address(address: SocketAddress) -> bytes:
    """``address`` as Linux's struct sockaddr_in or sockaddr_in6."""
    family, place = address
    port = struct.pack("!H", place[1])
    host = socket.inet_pton(family, place[0].partition("%")[0])
    head = struct.pack("=H", family) + port
    if family == socket.AF_INET:
        return head + host + bytes(8)
    flow, scope = (place[2], place[3]) if len(place) == 4 else (0, 0)
    return head + struct.pack("!I", flow) + host + struct.pack("=I", scope)
