"""When a worker wakes for a slot."""

class WakeGuard:
    """Learns from sleeps and slots; the native transport uses the same steps in C.

    ``budget_ns`` is what may be spun for each slot. As long as the 99th percentile of oversleeps
    fits into it, the worker wakes that much before a slot; else as long after it as leaves 99 of
    100 slots less than 80 us late, so that one sleep serves several slots and answers.
    ``typical_ns`` and ``oversleep_ns``: median and 99th percentile of oversleeps to start from.
    """

    def __init__(self, budget_ns: int, typical_ns: int, oversleep_ns: int) -> None: ...
    def wake_ns(self, slot_ns: int, now_ns: int) -> int:
        """When to wake for a slot that is due at ``slot_ns``; by ``now_ns``: not to sleep."""

    def slept(self, oversleep_ns: int) -> None:
        """A sleep has ended so much later than was asked for."""

    def took(self, lateness_ns: int) -> None:
        """A slot was taken so much later than planned."""
