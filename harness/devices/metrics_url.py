"""Where a server's Prometheus metrics are, as given with ``--metrics-url``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.control.address import Address, parse_address
from harness.errors import UsageError
from harness.untrusted import clean_text

NONE = "none"
DEFAULT_PATH = "/metrics"
HTTP_PORT = 80
MAX_PORT = 65_535

_PATH = re.compile(r"/[!-~]{0,1000}")


@dataclass(frozen=True)
class MetricsUrl:
    """A page on a host: plain HTTP. ``path`` begins with a slash."""

    address: Address
    path: str = DEFAULT_PATH


def parse_metrics_url(text: str) -> MetricsUrl | None:
    """``http://host:8002/metrics``; scheme and path may be left out. ``none``: None.

    Raises UsageError: credentials or a query (never echoed), https, what is no address.
    """
    words = text.strip()
    if words == NONE:
        return None
    if "@" in words:
        raise UsageError(
            "a metrics URL carries credentials (not shown); write http://host:8002/metrics"
        )
    scheme, mark, rest = words.partition("://")
    place, slash, path = (rest if mark else words).partition("/")
    if mark and scheme.lower() != "http":
        raise UsageError(
            f"metrics URL has the scheme '{clean_text(scheme, 20)}://', which is not supported;"
            " write http://host:8002/metrics"
        )
    if "?" in words or "#" in words:
        # It may hold a token.
        raise UsageError(
            "a metrics URL has a query or fragment (not shown); write http://host:8002/metrics"
        )
    path = slash + path if path else DEFAULT_PATH
    if _PATH.fullmatch(path) is None:
        raise UsageError("a metrics URL has a path with characters that HTTP does not send as such")
    if place.endswith("]") or ":" not in place:
        place = f"{place}:{HTTP_PORT}"
    try:
        return MetricsUrl(parse_address(place), path)
    except UsageError as error:
        said = str(error).removeprefix("server address ")
        raise UsageError(f"metrics URL: {said}; write http://host:8002/metrics") from None


def metrics_urls(servers: Sequence[Address], given: Sequence[str]) -> list[MetricsUrl | None]:
    """One for each server, in order: as given, or where Triton has it, a port above.

    A port that another of the servers has is not asked. Raises UsageError.
    """
    if list(given) == [NONE]:
        return [None] * len(servers)
    if given:
        return [parse_metrics_url(text) for text in given]
    guesses = [Address(one.host, one.port + 1) for one in servers]
    return [None if one in servers or one.port > MAX_PORT else MetricsUrl(one) for one in guesses]
