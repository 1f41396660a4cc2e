"""What clock, sleeps and CPU do to a loop that does nothing else; measured without the GIL."""

from libc.stdint cimport int64_t
from posix.unistd cimport close

from harness.includes.linux cimport (
    EPOLL_CLOEXEC, PR_SET_TIMERSLACK, clock_ns, epoll_create1, epoll_event, epoll_wait_ns, errno,
    prctl1, strerror,
)

cdef extern from "<sys/prctl.h>":
    int PR_GET_TIMERSLACK

cdef int64_t SLEEP_NS = 100_000
cdef int64_t SHORT_GAP_NS = 100_000
cdef int64_t LONG_GAP_NS = 1_000_000


def read_cost_ns(int reads):
    cdef int64_t start_ns, last_ns = 0
    cdef int _
    if reads < 1:
        raise ValueError(f"{reads} reads cannot be timed")
    with nogil:
        start_ns = clock_ns()
        for _ in range(reads):
            last_ns = clock_ns()
    return (last_ns - start_ns) / <double> reads


def oversleeps_ns(int64_t duration_ns):
    cdef int64_t deadline_ns, woken_ns, end_ns = clock_ns() + duration_ns
    cdef int turn = 0, slack_ns = prctl1(PR_GET_TIMERSLACK, 0)
    cdef int epoll_fd = epoll_create1(EPOLL_CLOEXEC)
    cdef epoll_event event
    cdef list found = []
    if epoll_fd < 0:
        raise OSError(errno, strerror(errno).decode())
    prctl1(PR_SET_TIMERSLACK, 1)
    try:
        while True:
            with nogil:
                deadline_ns = clock_ns() + SLEEP_NS * (1 + turn % 4)
                turn += 1
                if deadline_ns < end_ns:
                    epoll_wait_ns(epoll_fd, &event, 1, deadline_ns - clock_ns())
                    woken_ns = clock_ns()
            # A signal ends a sleep early; its handler waits for this call to return.
            if deadline_ns >= end_ns or woken_ns < deadline_ns:
                return found
            found.append(woken_ns - deadline_ns)
    finally:
        prctl1(PR_SET_TIMERSLACK, slack_ns)
        close(epoll_fd)


def spin_gaps(int64_t duration_ns):
    cdef int64_t now_ns, gap_ns, last_ns, end_ns
    cdef int64_t over_100us = 0, over_1ms = 0, lost_ns = 0, longest_ns = 0
    with nogil:
        last_ns = clock_ns()
        end_ns = last_ns + duration_ns
        while last_ns < end_ns:
            now_ns = clock_ns()
            gap_ns = now_ns - last_ns
            last_ns = now_ns
            if gap_ns > longest_ns:
                longest_ns = gap_ns
            if gap_ns > SHORT_GAP_NS:
                over_100us += 1
                over_1ms += gap_ns > LONG_GAP_NS
                lost_ns += gap_ns
    return over_100us, over_1ms, lost_ns, longest_ns
