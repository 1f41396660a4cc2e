"""Instructions per request of a worker, counted by callgrind: a cost that no clock can blur.

``python -m benchmarks.instructions [--write]``: a closed loop of 64 in flight, sleeping, 4000
requests to the embedded server. The worker's loop alone is counted, in user mode. Prints the
figure, what it is made of, and what has grown since the stored one (``instructions.json``);
``--write`` stores it. Exit 1: it has grown by more than the bound.

The count depends on the compiler, Cython and nghttp2: of other versions than the stored one's
the bound is wider.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers import peer
from harness.control.address import pack_socket_address
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.errors import HarnessError, NotStartedError, UsageError
from harness.host import nghttp2_version
from harness.load.preparation import request_fields

STORED = Path(__file__).with_suffix(".json")
COUNTED = "*6Engine_loop"
"""The C name of the worker's loop; what it calls is counted with it."""
REQUESTS = 4000
IN_FLIGHT = 64
BOUND = 0.05
BOUND_ELSEWHERE = 0.25
LIMIT_S = 120.0


@dataclass(frozen=True)
class Instructions:
    """Per request: in all, and by part (a module of ours, or a library)."""

    total: float
    parts: dict[str, float]
    versions: dict[str, str]

    def to_json(self) -> str:
        """One figure a line."""
        return json.dumps(asdict(self), indent=1) + "\n"


def count(requests: int = REQUESTS) -> Instructions:
    """Run the worker's loop under callgrind. Raises NotStartedError without valgrind."""
    valgrind = peer("valgrind")
    with (
        EmbeddedServer(ServeConfig()) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        host, port = server.url.rsplit(":", 1)
        out = Path(folder) / "callgrind.out"
        address = pack_socket_address((socket.AF_INET, (host, int(port)))).hex()
        subprocess.run(
            [
                *(*valgrind.argv, "--tool=callgrind", f"--toggle-collect={COUNTED}"),
                *(f"--callgrind-out-file={out}", sys.executable, "-m", "benchmarks.counted_load"),
                *(address, json.dumps(request_fields(server.url, ()))),
                *(str(requests), str(IN_FLIGHT)),
            ],
            check=True,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            env={**valgrind.environment(), "PYTHONHASHSEED": "0"},
            cwd=Path(__file__).resolve().parents[1],
        )
        found = parts(out.read_text())
    return Instructions(
        round(sum(found.values()) / requests, 1),
        {name: round(cost / requests, 1) for name, cost in found.most_common()},
        {
            "nghttp2": nghttp2_version() or "",
            "compiler": compiler(),
            "cython": version("cython"),
        },
    )


def parts(text: str) -> Counter[str]:
    """Self cost by part, of a callgrind output file (names compressed, one kind of event)."""
    names: dict[str, str] = {}
    found: Counter[str] = Counter()
    part, skip = "", False
    for line in text.splitlines():
        if match := re.match(r"ob=(\(\d+\))(?: (.*))?$", line):
            if match[2]:
                names[match[1]] = match[2]
            part = part_of(names[match[1]])
        elif match := re.match(r"cob=(\(\d+\)) (.*)$", line):
            names[match[1]] = match[2]
        elif line.startswith("calls="):
            skip = True  # the next line is the callee's cost, which its own lines say
        elif match := re.match(r"[+*\-]?\d* ?(?:[+\-]?\d+ )?(\d+)$", line):
            if not skip:
                found[part] += int(match[1])
            skip = False
    return found


def part_of(path: str) -> str:
    """``_core`` of a module of ours, ``libnghttp2`` of a library."""
    return re.split(r"[.]", os.path.basename(path))[0]


def grown(found: Instructions, stored: Instructions) -> tuple[bool, list[str]]:
    """Whether the cost is over the bound, and lines that say what has changed."""
    elsewhere = found.versions != stored.versions
    bound = BOUND_ELSEWHERE if elsewhere else BOUND
    change = found.total / stored.total - 1
    lines = [
        f"{found.total:.0f} instructions per request, stored {stored.total:.0f}:"
        f" {100 * change:+.1f} % (bound {100 * bound:.0f} %)"
    ]
    if elsewhere:
        lines.append(f"the stored figure is of {stored.versions}, this one of {found.versions}")
    names = {**stored.parts, **found.parts}
    changes = {name: found.parts.get(name, 0) - stored.parts.get(name, 0) for name in names}
    for name, more in sorted(changes.items(), key=lambda item: -abs(item[1])):
        if abs(more) >= 0.005 * stored.total:
            now, before = found.parts.get(name, 0), stored.parts.get(name, 0)
            lines.append(f"  {name:<16}{before:>8.0f} -> {now:>6.0f}  ({more:+.0f})")
    if change > bound:
        lines.append("if that is meant: python -m benchmarks.instructions --write, and say why")
    return change > bound, lines


def load_stored() -> Instructions:
    """The figure to compare with. Raises UsageError."""
    try:
        stored = Instructions(**json.loads(STORED.read_text()))
        if not stored.total > 0:
            raise ValueError("no instructions")
        dict(stored.parts), dict(stored.versions)
    except OSError as error:
        raise UsageError(f"cannot read {STORED}: {error.strerror}; store one by --write") from None
    except (TypeError, ValueError) as error:
        raise UsageError(f"{STORED} holds no figure ({error}); store one by --write") from None
    return stored


def compiler() -> str:
    """The C compiler's name and major version."""
    from tools.nghttp2 import compiler as command  # noqa: PLC0415

    done = subprocess.run([*command(), "-dumpversion"], capture_output=True, text=True, check=True)
    return f"{Path(command()[0]).name} {done.stdout.split('.')[0].strip()}"


def main() -> int:
    """Count, print, compare or store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="store the figure")
    arguments = parser.parse_args()
    try:
        stored = None if arguments.write else load_stored()
        found = count()
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except subprocess.SubprocessError as error:
        last = (getattr(error, "stderr", None) or "").strip().splitlines()[-1:]
        print(f"error: {error}: {''.join(last)}", file=sys.stderr)
        return NotStartedError.exit_code
    for name, cost in found.parts.items():
        print(f"{name:<16}{cost:>8.0f}")
    if stored is None:
        STORED.write_text(found.to_json())
        print(f"{found.total:.0f} instructions per request, stored in {STORED.name}")
        return 0
    over, lines = grown(found, stored)
    print("\n".join(lines))
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
