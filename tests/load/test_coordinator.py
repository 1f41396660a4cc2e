"""When the coordinator looks and when it has something to do, in virtual time."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from harness._ledger import Ledger
from harness._shm import Segment
from harness._tally import Tally
from harness.load.coordinator import (
    IN_STEP_NS,
    LOOK_EVERY_NS,
    SILENT_NS,
    TURN_EVERY_NS,
    Coordinator,
    Phase,
)
from harness.plan import PlanSpec
from harness.records import BUCKET_NS
from tests.core_fixture import ledger_of

MS = 1_000_000


class Room:
    """A coordinator, and hands that play its workers."""

    def __init__(self, workers: int = 1) -> None:
        self.segment = Segment(workers, 1 << 8, 16)
        self.ledgers: list[Ledger] = [ledger_of(self.segment, w) for w in range(workers)]
        self.running = [SimpleNamespace(index=w, state="running") for w in range(workers)]
        fleet = SimpleNamespace(workers=self.running)
        self.coordinator = Coordinator(self.segment, fleet, 1)
        spec = PlanSpec("constant", 100.0, 1, 60_000 * MS)
        control = SimpleNamespace()
        self.phase = Phase(spec, "s", Tally(1, 10, spec.duration_ns), 0, None, control=control)
        self.slot = 0

    def slots_end(self, worker: int = 0) -> None:
        """One slot of a worker is taken, handed and answered."""
        ledger = self.ledgers[worker]
        e = ledger.take(self.slot, 0, 0)
        assert e is not None
        ledger.hand(e, 0, 0)
        ledger.finish(e, 1, 0, 0, 1)
        self.slot += 1

    def look(self, now_ns: int) -> bool:
        return self.coordinator._look(self.phase, self.running, now_ns)

    def pause_ns(self, now_ns: int) -> int:
        return self.coordinator._pause_ns(self.phase, now_ns)


@pytest.fixture
def room() -> Iterator[Room]:
    one = Room(2)
    yield one
    one.coordinator.close()


def test_a_complete_bucket_is_news_once(room: Room) -> None:
    for now_ms, news in ((40, False), (51, True), (60, False), (101, True)):
        for worker, ledger in enumerate(room.ledgers):
            room.slots_end(worker)
            ledger.publish(now_ms * MS, now_ms * MS)
        assert room.look(now_ms * MS) is news, now_ms


def test_nothing_that_ends_is_news(room: Room) -> None:
    room.slots_end()
    assert not room.look(10 * MS)
    assert room.look(20 * MS)
    room.slots_end(1)
    assert not room.look(30 * MS)


def test_the_slowest_worker_counts_but_not_one_that_is_silent_or_gone(room: Room) -> None:
    first, second = room.ledgers
    now_ns = SILENT_NS + 100 * MS
    first.publish(now_ns, now_ns)
    second.publish(now_ns - SILENT_NS, 10 * MS)
    room.slots_end()
    assert not room.look(now_ns)
    assert room.pause_ns(now_ns) == LOOK_EVERY_NS
    room.slots_end()
    first.publish(now_ns + 1, now_ns + 1)
    assert room.look(now_ns + 1)
    assert room.pause_ns(now_ns + 1) > LOOK_EVERY_NS
    second.publish(now_ns + 1, 10 * MS)
    del room.running[1]
    room.look(now_ns + 2)
    assert room.coordinator.slowest_ns == now_ns + 1


def test_without_a_control_there_is_no_news(room: Room) -> None:
    room.phase.control = None
    for ledger in room.ledgers:
        ledger.publish(200 * MS, 200 * MS)
    assert not room.look(200 * MS)


@pytest.mark.parametrize(
    ("mark_ms", "now_ms", "pause_ms"),
    [
        (0, -30, 75),  # slot 0 is not due yet
        (0, 0, 51),
        (20, 21, 31),  # in step: the bucket ends at 50, as it goes, and 1 ms more
        (20, 31, 10),  # behind by more than IN_STEP_NS
        (60, 21, 75),  # ahead: the next slot is not due yet
        (55, 21, 75),
        (30, 25, 26),
        (2**63 // MS, 21, 75),  # no slot comes any more
    ],
)
def test_pause(room: Room, mark_ms: int, now_ms: int, pause_ms: int) -> None:
    room.coordinator.slowest_ns = mark_ms * MS
    assert room.pause_ns(now_ms * MS) // MS == pause_ms
    assert room.pause_ns(now_ms * MS) <= TURN_EVERY_NS
    assert BUCKET_NS > IN_STEP_NS


def test_commands_are_started_on_time(room: Room) -> None:
    room.phase.prompt = True
    room.coordinator.slowest_ns = 20 * MS
    assert room.pause_ns(20 * MS) == LOOK_EVERY_NS


def test_an_interrupt_after_the_end_does_no_harm() -> None:
    coordinator = Room().coordinator
    coordinator.interrupt()
    coordinator.close()
    coordinator.interrupt()
    assert coordinator.interrupts == 2
