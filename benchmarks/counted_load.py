"""What ``benchmarks.instructions`` counts: one worker's loop in this process, nothing around it.

``python -m benchmarks.counted_load SOCKADDR_HEX FIELDS_JSON REQUESTS IN_FLIGHT``. Exit 1 if not
every request was answered.
"""

import json
import socket
import sys
import time

from harness._core import Engine
from harness._ledger import Ledger
from harness._plan import CLOSED, Plan
from harness._policy import Policy
from harness._shm import Segment

S = 1_000_000_000
MINUTE_NS = 60 * S
PREFIX = "s"
# A ModelInferRequest of the identity model, 64 bytes of data, as protobuf writes it; its id last.
INPUT = b"\x0a\x06INPUT0\x12\x04FP32\x1a\x01\x10"
MESSAGE = (
    b"\x0a\x08identity"
    + b"\x2a" + bytes([len(INPUT)]) + INPUT
    + b"\x3a\x40" + bytes(range(64))
    + b"\x1a\x10" + b"0" * 16
)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Send the requests."""
    address, fields, requests, in_flight = arguments
    segment = Segment(1, 1 << 14, 2 * int(in_flight))
    ledger = Ledger(
        segment,
        0,
        servers=1,
        slo_ns=S,
        timeout_ns=MINUTE_NS,
        lag_ns=S,
        cap=int(in_flight),
    )
    ours, theirs = socket.socketpair()
    engine = Engine(
        ledger,
        Policy("failover", [1], 0),
        0,
        1,
        control_fd=theirs.fileno(),
        body=b"\0" + len(MESSAGE).to_bytes(4, "big") + MESSAGE,
        id_offset=5 + len(MESSAGE) - 16,
        outputs=1,
        response_limit_bytes=1 << 20,
        response_bytes=256,
        endpoints=[
            (
                bytes.fromhex(address),
                [(name.encode(), value.encode()) for name, value in json.loads(fields)],
            )
        ],
        lanes=1,
        spin=False,
        sleeps=True,
        shares_cpu=False,
        cancel_expired=False,
    )
    engine.calibrate(0, [1])
    if not engine.connect(MINUTE_NS, [True]):
        return 1
    plan = Plan(CLOSED, 0.0, 1, MINUTE_NS, slots=int(requests))
    how = engine.run(plan, PREFIX, time.monotonic_ns(), MINUTE_NS)
    ours.close()
    # 14 bits of ring hold them all, and none is an overdue record.
    return int(how != "done" or segment.pushed(0) != int(requests) or ledger.entries_used > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
