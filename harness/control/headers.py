"""Request headers from ``-H``: read, checked, and never shown with their values."""

import re
from collections.abc import Iterable

from pydantic import SecretStr

from harness.errors import UsageError
from harness.untrusted import clean_text

MAX_HEADERS = 64
MAX_HEADER_BYTES = 8192

RESERVED = frozenset(
    (
        "connection",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    )
)
"""Headers that gRPC or HTTP/2 itself sets."""

_NAME = re.compile(r"[a-z0-9_.-]{1,256}")
_VALUE = re.compile(r"[\x20-\x7e]*")


def parse_header(text: str) -> tuple[str, SecretStr]:
    """``NAME:VALUE`` as the lower-case name and the value, blanks around both left out.

    Raises UsageError, without the text: it may be a secret that lacks its name.
    """
    name, colon, value = text.partition(":")
    if not colon:
        raise UsageError("a header has no colon (not shown); write it like -H 'name: value'")
    header = (name.strip().lower(), SecretStr(value.strip()))
    check_headers([header])
    return header


def check_headers(headers: Iterable[tuple[str, SecretStr]]) -> tuple[tuple[str, str], ...]:
    """The headers as lower-case names and plain values, fit for HTTP/2 and gRPC.

    Raises UsageError naming the header, never its value.
    """
    checked = []
    total_bytes = 0
    for given, secret in headers:
        name, value = given.lower(), secret.get_secret_value()
        shown = clean_text(name, 60)
        if _NAME.fullmatch(name) is None:
            raise UsageError(f"header name '{shown}' is empty or has characters not allowed there")
        if name in RESERVED or name.startswith("grpc-"):
            raise UsageError(f"header '{shown}' is set by gRPC itself; leave it out")
        if name.endswith("-bin"):
            raise UsageError(f"header '{shown}' is binary (-bin); only text headers are sent")
        if _VALUE.fullmatch(value) is None:
            raise UsageError(f"the value of header '{shown}' has characters outside plain ASCII")
        checked.append((name, value))
        total_bytes += len(name) + len(value) + 32
    if len(checked) > MAX_HEADERS or total_bytes > MAX_HEADER_BYTES:
        raise UsageError(
            f"{len(checked)} headers of {total_bytes} bytes are too many; the most is"
            f" {MAX_HEADERS} of {MAX_HEADER_BYTES} bytes together"
        )
    return tuple(checked)


def redact(text: str, headers: Iterable[tuple[str, str]]) -> str:
    """``text`` with every header value, and every long word of one, replaced by ``***``.

    A server or proxy may echo what it was sent in its status text.
    """
    secrets: set[str] = set()
    for _, value in headers:
        secrets.update(word for word in (value, *value.split()) if len(word) >= 4)
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
