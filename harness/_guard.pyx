"""When a worker wakes for a slot."""

from libc.stdint cimport int64_t


cdef class WakeGuard:
    cdef Guard guard

    def __init__(self, int64_t budget_ns, int64_t typical_ns, int64_t oversleep_ns):
        guard_init(&self.guard, budget_ns, typical_ns, oversleep_ns)

    def wake_ns(self, int64_t slot_ns, int64_t now_ns):
        return guard_wake_ns(&self.guard, slot_ns, now_ns)

    def slept(self, int64_t oversleep_ns):
        guard_slept(&self.guard, oversleep_ns)

    def took(self, int64_t lateness_ns):
        guard_took(&self.guard, lateness_ns)
