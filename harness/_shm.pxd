# The shared segment of one run: who writes what, and where it lies.
#
#   RunPage | for each worker: WorkerPage, ring header, records, in-flight table
#
# Every part starts on a cache line of its own; nothing in it is a pointer.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from harness._response cimport ResponseState

cdef enum:
    MAX_SERVERS = 32
    NO_SERVER = 255
    NONE = -1  # no entry

cdef enum:  # records.Outcome
    OUTCOME_NONE = 0
    OUTCOME_OK = 1
    OUTCOME_ERROR = 2
    OUTCOME_TIMEOUT = 3
    OUTCOME_CANCELLED = 4
    OUTCOME_LOST = 5
    OUTCOME_DROPPED = 6
    OUTCOME_UNSENT = 7

cdef enum:  # records.Decision
    UNDECIDED = 0
    IN_TIME = 1
    VIOLATED_STATUS = 2
    VIOLATED_SLOW = 3

cdef enum:  # records.Reason
    REASON_NONE = 0
    REASON_GRPC_STATUS = 1
    REASON_NO_CONNECTION = 2
    REASON_CONNECTION_LOST = 3
    REASON_STREAM_RESET = 4
    REASON_WRONG_ID = 5
    REASON_INVALID_RESPONSE = 6
    REASON_TOO_LARGE = 7
    REASON_BACKPRESSURE = 8
    REASON_CLIENT = 9

cdef enum:  # records.Flag
    FLAG_OVERDUE = 1
    FLAG_COMPLETED_AFTER_DECISION = 2
    FLAG_MADE = 4
    FLAG_CLIENT_LATE = 8
    FLAG_WAITED = 16

cdef enum:  # EntryState
    ENTRY_FREE = 0
    ENTRY_WAITING = 1  # taken, not handed
    ENTRY_HANDED = 2
    ENTRY_EXPIRED = 3  # timeout in the books, its stream still open

cdef struct Record:  # records.RECORD
    int64_t slot
    int64_t t_sched_ns
    int64_t t_taken_ns
    int64_t t_sent_ns
    int64_t t_first_ns
    int64_t t_done_ns
    uint32_t epoch
    uint32_t response_bytes
    uint16_t worker
    uint8_t server
    uint8_t outcome
    uint8_t decision
    uint8_t reason
    uint8_t status
    uint8_t flags

cdef struct Entry:
    # One slot in a worker's hands. The first line is what the coordinator needs of a dead worker.
    int64_t slot
    int64_t t_sched_ns
    int64_t t_taken_ns
    int64_t t_sent_ns
    int64_t t_first_ns
    int64_t final_at  # ring position of its final record once that is being pushed, else -1
    int64_t overdue_at  # likewise for its overdue record
    uint32_t epoch
    uint8_t server
    uint8_t state
    uint8_t flags
    uint8_t decision
    # The second line is the worker's own.
    int32_t previous
    int32_t next
    int32_t next_waiting
    int32_t stream_id
    uint32_t response_bytes
    uint32_t written_bytes  # of the request's message
    uint8_t http_status  # 0: none yet; 1: 200; else the gRPC code it maps to, + 1
    uint8_t grpc_status  # 0: none yet; else the code + 1
    uint16_t connection
    ResponseState response

cdef struct RunPage:  # written by the coordinator alone
    uint64_t verdict  # epoch << 32 | a bit for each server in use
    uint64_t _pad0[7]
    int64_t cut_ns  # no slot later than this is taken
    uint64_t cancel  # not 0: give up everything in flight now
    uint64_t _pad1[6]

cdef struct WorkerPage:  # written by its worker alone
    int64_t heartbeat_ns
    int64_t watermark_ns
    int64_t cursor  # plan index of the first slot not taken
    uint64_t seen_epoch
    int64_t seen_ns
    uint64_t overflowed
    int64_t max_loop_gap_ns
    uint64_t loop_turns
    uint32_t in_flight[MAX_SERVERS]
    uint32_t in_flight_max[MAX_SERVERS]
    uint8_t connected[MAX_SERVERS]  # connections that are ready
    uint64_t _pad[4]

cdef struct Ring:  # followed by `capacity` records
    uint64_t head  # written by the worker
    uint64_t _pad0[7]
    uint64_t tail  # written by the coordinator
    uint64_t _pad1[7]


cdef class Segment:
    cdef readonly int fd
    cdef readonly int workers
    cdef readonly uint32_t ring_capacity
    cdef readonly uint32_t table_capacity
    cdef readonly size_t size_bytes
    cdef char *base

    cdef RunPage *run_page(self) noexcept nogil
    cdef WorkerPage *worker_page(self, int worker) noexcept nogil
    cdef Ring *ring(self, int worker) noexcept nogil
    cdef Record *ring_records(self, int worker) noexcept nogil
    cdef Entry *table(self, int worker) noexcept nogil
    cdef size_t worker_bytes(self) noexcept nogil
