"""Which server the next slot is handed to; each worker picks for itself."""

import time

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from harness._shm cimport MAX_SERVERS, NONE


cdef uint32_t mask_of(in_use, int servers) except 0:
    cdef uint32_t mask = 0
    for s in in_use:
        if not 0 <= s < servers:
            raise IndexError(s)
        mask |= <uint32_t> 1 << <int> s
    if mask == 0:
        raise ValueError("no server is in use")
    return mask


cdef class Policy:
    def __init__(self, str name, weights, int seed):
        if not 1 <= len(weights) <= MAX_SERVERS or min(weights) < 1:
            raise ValueError(f"one positive weight a server is needed, got {weights}")
        memset(&self.state, 0, sizeof(self.state))
        if name == "least-outstanding":
            self.state.kind = POLICY_LEAST_OUTSTANDING
        self.state.servers = len(weights)
        # xorshift must not start from 0
        self.state.random = <uint64_t> (seed + 1) * <uint64_t> 0x9e3779b97f4a7c15 | 1
        for s, weight in enumerate(weights):
            self.state.weight[s] = weight if name == "weighted" else 1

    def pick(self, in_use, in_flight, uint32_t cap):
        cdef uint32_t outstanding[MAX_SERVERS]
        cdef int s
        for s in range(self.state.servers):
            outstanding[s] = in_flight[s]
        s = policy_pick(&self.state, mask_of(in_use, self.state.servers), outstanding, cap)
        return None if s == NONE else s

    def took(self, int server):
        if not 0 <= server < self.state.servers:
            raise IndexError(server)
        policy_took(&self.state, server)

    @property
    def turn(self):
        return self.state.turn

    def pick_ns(self, in_use, int picks):
        cdef uint32_t outstanding[MAX_SERVERS]
        cdef uint32_t mask = mask_of(in_use, self.state.servers)
        cdef int _, s
        memset(outstanding, 0, sizeof(outstanding))
        start_ns = time.perf_counter_ns()
        with nogil:
            for _ in range(picks):
                s = policy_pick(&self.state, mask, outstanding, <uint32_t> -1)
                policy_took(&self.state, s)
                outstanding[s] += 1
        return (time.perf_counter_ns() - start_ns) / picks, [
            outstanding[s] for s in range(self.state.servers)]
