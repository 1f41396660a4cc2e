"""One gRPC response, read as it arrives."""

from typing import Any

class ResponseReader:
    """Checks one unary ModelInferResponse, fed in pieces cut anywhere.

    ``prefix`` and ``slot`` make up the id it must carry; ``limit_bytes`` bounds the message.
    """

    def __init__(self, prefix: str, slot: int, limit_bytes: int) -> None: ...
    def feed(self, data: bytes | bytearray | memoryview | Any) -> bool:
        """Take the next bytes of the body; False once it is known to be no answer."""

    @property
    def complete(self) -> bool:
        """The one message has arrived whole and well-formed."""

    @property
    def has_id(self) -> bool:
        """The id it carried, the last if several, is the expected one."""

    @property
    def too_large(self) -> bool: ...
    @property
    def outputs(self) -> int:
        """Output tensors it declared."""

def request_id(prefix: str, slot: int) -> bytes:
    """The 16 ASCII bytes that name a slot on the wire: the prefix, then 15 hex digits.

    Raises ValueError for a prefix that is not one ASCII character or a slot over 60 bits.
    """
