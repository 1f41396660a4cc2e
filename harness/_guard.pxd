# When a worker wakes for a slot. Waking from a sleep takes a machine tens of microseconds, and
# about as much CPU time: either being early and spinning the rest is affordable, or one sleep
# should serve several slots and answers.
from libc.stdint cimport int64_t

cdef enum:
    LEAST_GUARD_NS = 20000
    MOST_GUARD_NS = 150000
    STEP_NS = 50
    RISE = 99  # steps one way for each step the other: they balance at the 99th percentile
    AIM_NS = 80000  # 99 of 100 slots are to be taken within it; a valid run allows 100 us

cdef struct Guard:
    int64_t budget_ns  # what may be spun for each slot
    int64_t oversleep_ns  # 99th percentile
    int64_t typical_ns  # median oversleep
    int64_t lull_ns  # how much after a slot to wake, where waking early is over the budget


cdef inline int guard_init(Guard *self, int64_t budget_ns, int64_t typical_ns,
                           int64_t oversleep_ns) noexcept nogil:
    self.budget_ns = budget_ns
    self.oversleep_ns = min(max(oversleep_ns, <int64_t> LEAST_GUARD_NS), <int64_t> MOST_GUARD_NS)
    self.typical_ns = min(typical_ns, <int64_t> MOST_GUARD_NS)
    self.lull_ns = 0
    return 0


cdef inline bint guard_affords(const Guard *self) noexcept nogil:
    """Whether to be awake before each slot."""
    return self.oversleep_ns <= self.budget_ns


cdef inline int64_t guard_wake_ns(const Guard *self, int64_t slot_ns,
                                  int64_t now_ns) noexcept nogil:
    """When to wake for a slot: as early as it takes to be in time, or as late as is in time
    enough. A sleep that would end after the slot in any case is not worth its cost."""
    if guard_affords(self):
        return slot_ns - self.oversleep_ns
    if slot_ns - now_ns <= self.typical_ns:
        return now_ns
    return slot_ns + self.lull_ns


cdef inline int guard_slept(Guard *self, int64_t oversleep_ns) noexcept nogil:
    """A sleep has ended so much later than was asked for."""
    if oversleep_ns > self.oversleep_ns:
        self.oversleep_ns = min(self.oversleep_ns + RISE * STEP_NS, <int64_t> MOST_GUARD_NS)
    else:
        self.oversleep_ns = max(self.oversleep_ns - STEP_NS, <int64_t> LEAST_GUARD_NS)
    if oversleep_ns > self.typical_ns:
        self.typical_ns = min(self.typical_ns + STEP_NS, <int64_t> MOST_GUARD_NS)
    else:
        self.typical_ns = max(self.typical_ns - STEP_NS, <int64_t> 0)
    return 0


cdef inline int guard_took(Guard *self, int64_t lateness_ns) noexcept nogil:
    """A slot was taken so much later than planned."""
    # A worker that spins learns nothing of sleeps: it has to try one again.
    self.typical_ns = max(self.typical_ns - 1, <int64_t> 0)
    if lateness_ns > AIM_NS:
        self.lull_ns = max(self.lull_ns - RISE * STEP_NS, <int64_t> 0)
    else:
        self.lull_ns = min(self.lull_ns + STEP_NS, <int64_t> AIM_NS)
    return 0
