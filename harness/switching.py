"""Switching as people spell it: a policy with its weights, a rate per second, ``10s: COMMAND``."""

import re

from harness.config import BALANCING, DAY_NS, MAX_COMMAND_BYTES, MAX_WEIGHT, AtCommand
from harness.errors import UsageError
from harness.units import parse_duration_ns
from harness.untrusted import clean_text

LONGEST_PLAN_NS = 366 * DAY_NS

_PER_SECOND = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?|\.[0-9]{1,20})\s*/\s*s")
_WEIGHT = re.compile(r"[0-9]{1,10}")


def parse_policy(text: str) -> tuple[str, tuple[int, ...]]:
    """``round-robin`` or ``weighted:3,1`` as the policy's name and its weights.

    Raises UsageError: an unknown policy, weights missing, not positive integers or out of place.
    """
    shown = clean_text(text, 60)
    policy, colon, weights_text = text.strip().partition(":")
    if policy not in ("failover", *BALANCING):
        raise UsageError(
            f"not a policy: '{shown}'; write failover, round-robin, least-outstanding or"
            " weighted:3,1"
        )
    if policy != "weighted":
        if colon:
            raise UsageError(f"policy '{shown}': {policy} takes no weights; write weighted:3,1")
        return policy, ()
    if not weights_text.strip():
        raise UsageError("policy 'weighted' lacks its weights, one per -u; write weighted:3,1")
    weights = []
    for part in weights_text.split(","):
        word = part.strip()
        if _WEIGHT.fullmatch(word) is None or not 1 <= int(word) <= MAX_WEIGHT:
            raise UsageError(
                f"policy '{shown}': weight '{clean_text(word, 20)}' is not a whole number within"
                f" 1..{MAX_WEIGHT}; write it like weighted:3,1"
            )
        weights.append(int(word))
    return policy, tuple(weights)


def parse_per_second(text: str) -> float:
    """``1/s``, ``0.5/s`` or ``0`` as a number per second. Raises UsageError."""
    words = text.strip()
    if words == "0":
        return 0.0
    match = _PER_SECOND.fullmatch(words)
    if match is None:
        raise UsageError(
            f"not a rate: '{clean_text(text, 60)}'; write it like 1/s or 0.5/s, or 0 for none"
        )
    return float(match[1])


def parse_at(text: str) -> AtCommand:
    """``10s: COMMAND`` as the command and its plan time; the command may hold colons.

    Raises UsageError, without the command, which may hold a secret: no colon, no command, a time
    that is none, a command that is too long or not UTF-8.
    """
    time_text, colon, command = text.partition(":")
    command = command.strip()
    if not colon:
        raise UsageError("no ':' after the time; write it like '10s: COMMAND'")
    at_ns = parse_duration_ns(time_text)
    shown = clean_text(time_text, 20)
    if at_ns > LONGEST_PLAN_NS:
        raise UsageError(f"{shown} is later than any run can last; give an earlier time")
    if not command:
        raise UsageError(f"no command at {shown}; write it like '10s: COMMAND'")
    try:
        size_bytes = len(command.encode())
    except UnicodeEncodeError:
        raise UsageError(f"the command at {shown} is not UTF-8; put it into a script") from None
    if "\0" in command or size_bytes > MAX_COMMAND_BYTES:
        raise UsageError(
            f"the command at {shown} is over {MAX_COMMAND_BYTES} bytes or holds a NUL; put it into"
            " a script"
        )
    return AtCommand(at_ns=at_ns, command=command)
