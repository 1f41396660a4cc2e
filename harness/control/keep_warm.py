"""Requests that keep servers warm while no load goes to them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KeptWarm:
    """What was sent to one server beside the load, in no result."""

    sent: int
    ok: int
