"""A worker's side of the books: every slot it takes, until its final record is pushed."""

from harness._shm import Segment

class Ledger:
    """The in-flight table, waiting queue and ring of one worker; times in ns since the run's start.

    ``slo_ns`` is T (None: no slot is ever slow), ``timeout_ns`` the deadline from t_taken,
    ``lag_ns`` how late a slot may be handed, ``cap`` this worker's share of each server's cap.
    The native transport uses the same steps in C. Raises ValueError for values that do not fit.
    """

    def __init__(
        self,
        segment: Segment,
        worker: int,
        *,
        servers: int,
        slo_ns: int | None,
        timeout_ns: int,
        lag_ns: int,
        cap: int,
    ) -> None: ...
    def begin(self) -> None:
        """Forget everything; the segment must have been reset."""

    def take(self, slot: int, t_sched_ns: int, t_taken_ns: int) -> int | None:
        """Come to a slot. Returns its entry, or None if it was dropped and booked at once."""

    def wait(self, e: int) -> None:
        """Queue a taken slot that cannot be handed yet."""

    def first_waiting(self) -> int | None:
        """The longest-waiting slot, left in the queue."""

    def next_waiting(self) -> int | None:
        """Take the longest-waiting slot out of the queue."""

    @property
    def cap(self) -> int: ...
    def in_flight(self, server: int) -> int:
        """This worker's requests in flight at the server."""

    def hand(self, e: int, server: int, epoch: int) -> None:
        """The server is picked; from here on it owns the slot."""

    def slot(self, e: int) -> int: ...
    def server(self, e: int) -> int: ...
    def received(self, e: int, response_bytes: int) -> None: ...
    def finish(self, e: int, outcome: int, reason: int, status: int, t_done_ns: int) -> None:
        """A handed slot's stream has ended; after its deadline this only frees the entry."""

    def tick(self, now_ns: int) -> None:
        """Drop what waited too long, then judge what is overdue."""

    def expire_next(self, now_ns: int) -> int | None:
        """Book one slot whose deadline has passed as timeout; its entry stays until finish."""

    def abandon(self, now_ns: int) -> None:
        """The drain is over: waiting slots are dropped, handed ones cancelled."""

    def next_deadline_ns(self) -> int:
        """When tick or expire_next next has something to do; 2^63 - 1: never."""

    def publish(self, now_ns: int, next_sched_ns: int | None) -> None:
        """Heartbeat and watermark; ``next_sched_ns`` is t_sched of the first slot not taken."""

    def expect(self, wake_ns: int) -> None:
        """The worker sleeps, and means to be awake then."""

    def alive(self, now_ns: int) -> bool:
        """The worker runs. True if it stood still until now for longer than max(1 ms, T / 10).

        Every slot undecided then, and every one due by now, is client-late.
        """

    def set_active(self, server: int) -> None:
        """The server that slots never handed are charged to."""

    @property
    def waiting(self) -> bool:
        """Whether slots are queued."""

    @property
    def live(self) -> int:
        """Entries without a final record."""

    @property
    def entries_used(self) -> int:
        """Entries not free, those past their deadline included."""
