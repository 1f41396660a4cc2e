"""What the coordinator keeps of every record: counts, buckets, histograms, rows."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness._histogram import Histogram
from harness._shm import Segment

HISTOGRAMS: Final[tuple[str, ...]]
BUCKET_FIELDS: Final[tuple[str, ...]]
EVIDENCE_FIELDS: Final[tuple[str, ...]]
INSIDE_FIELDS: Final[tuple[str, ...]]
ANSWER_FIELDS: Final[tuple[str, ...]]
EPOCH_FIELDS: Final[tuple[str, ...]]
EPOCH_LIMIT: Final[int]

class Tally:
    """Everything that is counted of a run; S servers, last row of each array: no server.

    ``rows``: one RECORD per slot (``requests.npy``), or None to keep none. Where the number of
    slots is not known beforehand, ``slots`` is a bound, and rows may be fewer.
    Raises ValueError for rows that do not fit.
    """

    def __init__(
        self,
        servers: int,
        slots: int,
        duration_ns: int,
        rows: NDArray[np.void] | None = None,
    ) -> None: ...
    @property
    def servers(self) -> int: ...
    @property
    def slots(self) -> int: ...
    @property
    def duration_ns(self) -> int: ...
    @property
    def bucket_count(self) -> int: ...
    @property
    def duplicates(self) -> int:
        """Final records for a slot that already had one; seen only with rows."""

    @property
    def strays(self) -> int:
        """Records that fit no slot or bucket of the plan."""

    @property
    def unrecorded(self) -> int:
        """Final records that found no row to lie in."""

    @property
    def slots_end(self) -> int:
        """One more than the highest slot with a final record."""

    def cut(self, end_ns: int) -> None:
        """The load ends here: later answers are not inside it. To be called before there are any.

        ``duration_ns`` is this from then on; ``bucket_count`` stays.
        """

    def completed(self, server: int) -> int:
        """Final records so far that say OK or error."""

    def evidence_of(self, server: int, bucket: int) -> tuple[int, int, int, int, int]:
        """One bucket's EVIDENCE_FIELDS."""

    def limit_rows(self, count: int) -> None:
        """Only the first ``count`` rows may be written. Raises ValueError if they are not there."""

    def give_up_rows(self) -> None:
        """Keep no rows from now on."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """Final records by [S + 1, Outcome (8), Decision (4)]."""

    @property
    def reasons(self) -> NDArray[np.int64]:
        """Final records by [S + 1, Reason (16)]."""

    @property
    def statuses(self) -> NDArray[np.int64]:
        """Error outcomes by [S + 1, gRPC code (0..16, 17: any other)]."""

    @property
    def buckets(self) -> NDArray[np.int64]:
        """By [S + 1, bucket of t_sched, BUCKET_FIELDS]."""

    @property
    def evidence(self) -> NDArray[np.int64]:
        """Decided slots, client-late ones left out, by [S + 1, bucket, EVIDENCE_FIELDS].

        The last two are of client-late ones: ``late_failed`` those that ended in an error or had no
        answer T after they were taken and sent, ``late_answered`` those with an OK one by then.
        """

    @property
    def inside(self) -> NDArray[np.int64]:
        """OK answers with t_done in [0, duration) by [S + 1, INSIDE_FIELDS]."""

    @property
    def answers(self) -> NDArray[np.int64]:
        """t_done of the first and last in-SLO answer by [bucket of t_done, ANSWER_FIELDS].

        Of those in [0, duration), whatever server gave them; -1 where a bucket has none.
        """

    @property
    def epochs(self) -> NDArray[np.int64]:
        """Slots handed under each epoch by [EPOCH_LIMIT, EPOCH_FIELDS], -1 where there is none.

        Later epochs share the last row.
        """

    @property
    def worker_slots(self) -> NDArray[np.int64]:
        """Final records by worker."""

    @property
    def rows(self) -> NDArray[np.void] | None: ...
    def drain(self, segment: Segment, worker: int) -> int:
        """Take over all records in the worker's ring; return how many."""

    def add_rows(self, rows: NDArray[np.void]) -> None:
        """Count records as if they had come through a ring."""

    def histogram(self, name: str, server: int | None = None) -> Histogram:
        """One of HISTOGRAMS; of one server (shared), or of all (a merged copy).

        response and service hold OK answers; lateness every slot taken; send_delay every slot sent.
        """

    @property
    def recent(self) -> Histogram:
        """Response latencies since its last ``clear()``; for progress."""
