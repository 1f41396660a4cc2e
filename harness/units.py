"""Quantities as people write them, and back: durations, shares, shapes, CPU lists, latencies."""

import re
import string
from decimal import Decimal

from harness.errors import UsageError
from harness.untrusted import clean_text

NS_PER_UNIT = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}

MAX_NS = 2**63 - 1
MAX_DIM = 2**31 - 1
MAX_RANK = 16
MAX_CPU = 65_535

_NUMBER = r"[0-9]{1,20}(?:\.[0-9]{1,20})?"
_DURATION = re.compile(rf"({_NUMBER})\s*(ns|us|ms|s|m|h)?")
_SHARE = re.compile(rf"({_NUMBER}|\.[0-9]{{1,20}})\s*(%)?")
_CPU_RANGE = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")


def parse_duration_ns(text: str) -> int:
    """``50ms``, ``1.5s``, ``2m``, ``100us`` as whole nanoseconds; ``0`` needs no unit.

    Raises UsageError for anything else; another number without a unit is refused.
    """
    shown = clean_text(text, 60)
    if text.strip() == "0":
        return 0
    match = _DURATION.fullmatch(text.strip().replace("µ", "u").replace("μ", "u"))
    if match is None:
        raise UsageError(f"not a duration: '{shown}'; write it like 50ms, 5s, 2m, 1h or 100us")
    number, unit = match.groups()
    if unit is None:
        raise UsageError(
            f"duration '{shown}' has no unit; write {shown}ms, {shown}s or {shown}m"
            " (units: ns, us, ms, s, m, h)"
        )
    exact_ns = Decimal(number) * NS_PER_UNIT[unit]
    if exact_ns != exact_ns.to_integral_value():
        raise UsageError(f"duration '{shown}' is finer than 1 ns; round it")
    if exact_ns > MAX_NS:
        raise UsageError(f"duration '{shown}' is too long; the most is {MAX_NS} ns (292 years)")
    return int(exact_ns)


def parse_share(text: str) -> float:
    """``5%`` or ``0.05`` as a share within [0, 1].

    A bare number of 1 or more is refused, since it could mean a percentage. Raises UsageError.
    """
    shown = clean_text(text, 60)
    match = _SHARE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"not a share: '{shown}'; write it like 5% or 0.05")
    number, percent = match.groups()
    value = Decimal(number)
    if percent is None and value >= 1:
        raise UsageError(f"share '{shown}' is not below 1; for a percentage write {shown}%")
    share = value / 100 if percent else value
    if share > 1:
        raise UsageError(f"share '{shown}' is over 100%")
    return float(share)


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """``NAME:3,224,224`` as the tensor's name and its dimensions, the batch dimension left out.

    The name may itself hold colons. Raises UsageError.
    """
    shown = clean_text(text, 60)
    name, colon, dims_text = text.rpartition(":")
    if not colon or not name:
        raise UsageError(f"not a shape: '{shown}'; write it like INPUT0:3,224,224")
    parts = dims_text.split(",")
    if len(parts) > MAX_RANK:
        raise UsageError(f"shape '{shown}' has {len(parts)} dimensions; the most is {MAX_RANK}")
    dims = []
    for part in parts:
        word = part.strip()
        if re.fullmatch(r"[0-9]{1,10}", word) is None or not 1 <= int(word) <= MAX_DIM:
            raise UsageError(
                f"shape '{shown}': dimension '{clean_text(word, 20)}' is not a whole number"
                f" within 1..{MAX_DIM}; write it like INPUT0:3,224,224"
            )
        dims.append(int(word))
    return name, tuple(dims)


def parse_label(text: str) -> tuple[str, str]:
    """``gpu=H200`` as a key and its value. Raises UsageError."""
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key or not value:
        raise UsageError(f"not a label: '{clean_text(text, 60)}'; write it like gpu=H200")
    return key, value


def parse_cpus(text: str) -> tuple[int, ...]:
    """``0,2-3`` as CPU numbers in the order given. Raises UsageError, for a CPU named twice too."""
    shown = clean_text(text, 60)
    cpus: list[int] = []
    for part in text.split(","):
        match = _CPU_RANGE.fullmatch(part.strip())
        if match is None:
            raise UsageError(f"not a list of CPUs: '{shown}'; write it like 0,2-3")
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise UsageError(f"CPU range '{first}-{last}' runs backwards; write {last}-{first}")
        if last > MAX_CPU:
            raise UsageError(f"CPU {last} cannot exist; the highest number is {MAX_CPU}")
        cpus.extend(range(first, last + 1))
    if len(set(cpus)) != len(cpus):
        raise UsageError(f"CPU list '{shown}' names a CPU twice; name each once")
    return tuple(cpus)


def format_duration_ns(duration_ns: int) -> str:
    """A duration that ``parse_duration_ns`` reads back exactly: ``50ms``, ``1.5s``, ``2m``."""
    if duration_ns < 0:
        return "-" + format_duration_ns(-duration_ns)
    if duration_ns == 0:
        return "0s"
    for unit in ("h", "m"):
        if duration_ns % NS_PER_UNIT[unit] == 0:
            return f"{duration_ns // NS_PER_UNIT[unit]}{unit}"
    for unit in ("s", "ms", "us"):
        unit_ns = NS_PER_UNIT[unit]
        if duration_ns >= unit_ns and duration_ns * 1000 % unit_ns == 0:
            whole, thousandths = divmod(duration_ns * 1000 // unit_ns, 1000)
            return f"{whole}.{thousandths:03d}".rstrip("0").rstrip(".") + unit
    return f"{duration_ns}ns"


def format_latency_ms(latency_ns: int) -> str:
    """Milliseconds to four significant digits, no finer than 0.1 us and no coarser than 1 ms."""
    decimals = 0
    # 9.9996 needs one decimal less than its size says: it rounds up to 10.00.
    for decimals in (4, 3, 2, 1, 0):
        unit_ns = 10 ** (6 - decimals)
        rounded = (2 * abs(latency_ns) + unit_ns) // (2 * unit_ns)
        if rounded < 10_000:
            break
    text = f"{rounded // 10**decimals}"
    if decimals:
        text = f"{text}.{rounded % 10**decimals:0{decimals}d}".rstrip("0").rstrip(".")
    return f"-{text}" if latency_ns < 0 and rounded else text


def format_count(count: int) -> str:
    """A count in full: ``120018``, in groups of three from a million up: ``12 345 678``."""
    if abs(count) < 1_000_000:
        return str(count)
    return f"{count:,}".replace(",", " ")


def format_bytes(size_bytes: int) -> str:
    """A size in binary units to three digits or so: ``512 B``, ``1.5 MiB``, ``256 MiB``."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.3g} {unit}" if size < 1000 else f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.3g} TiB" if size < 1000 else f"{size:.0f} TiB"


def server_letter(index: int) -> str:
    """The short name of a server by its place in ``-u`` order; past Z a number."""
    return string.ascii_uppercase[index] if index < 26 else str(index)
