# Which server the next slot is handed to; each worker picks for itself.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from harness._shm cimport MAX_SERVERS, NONE

cdef enum:  # PolicyState.kind
    POLICY_WEIGHTED = 0  # equal weights are round-robin, a single server in use is failover
    POLICY_LEAST_OUTSTANDING = 1

cdef struct PolicyState:
    int kind
    int servers
    int turn  # the server a slot would go to if it had room
    uint32_t among  # those the last pick was made from
    uint64_t random
    int64_t weight[MAX_SERVERS]
    int64_t credit[MAX_SERVERS]


cdef extern from *:
    """
    static inline int hn_first(unsigned int mask) { return __builtin_ctz(mask); }
    """
    int first_of "hn_first"(unsigned int mask) noexcept nogil


cdef inline int random_of(PolicyState *self, uint32_t mask) noexcept nogil:
    """Any server of the mask; xorshift64."""
    cdef uint32_t k
    self.random ^= self.random << 13
    self.random ^= self.random >> 7
    self.random ^= self.random << 17
    k = <uint32_t> (self.random >> 32) % <uint32_t> count_of(mask)
    while k:
        mask &= mask - 1
        k -= 1
    return first_of(mask)


cdef inline int count_of(uint32_t mask) noexcept nogil:
    cdef int n = 0
    while mask:
        mask &= mask - 1
        n += 1
    return n


cdef inline int policy_choose(PolicyState *self, uint32_t mask,
                              const uint32_t *in_flight) noexcept nogil:
    """The server whose turn it is among those of the mask, which is not empty."""
    cdef int best, other, s
    cdef int64_t credit, most
    if mask & (mask - 1) == 0:
        return first_of(mask)
    if self.kind == POLICY_LEAST_OUTSTANDING:
        # Power of two choices (Mitzenmacher 2001); of two servers both are looked at.
        best = random_of(self, mask)
        other = random_of(self, mask & ~(<uint32_t> 1 << best))
        return other if in_flight[other] < in_flight[best] else best
    best = first_of(mask)
    most = self.credit[best] + self.weight[best]
    for s in range(best + 1, self.servers):
        credit = self.credit[s] + self.weight[s]
        if credit > most and mask >> s & 1:
            best, most = s, credit
    return best


cdef inline int policy_pick(PolicyState *self, uint32_t in_use, const uint32_t *in_flight,
                            uint32_t cap) noexcept nogil:
    """A server in use with room; NONE if there is none, and `turn` is the one that lacks it."""
    cdef uint32_t open_ = 0, mask = in_use
    cdef int s
    self.turn = policy_choose(self, in_use, in_flight)
    self.among = in_use
    if in_flight[self.turn] < cap:
        return self.turn
    while mask:
        s = first_of(mask)
        mask &= mask - 1
        if in_flight[s] < cap:
            open_ |= <uint32_t> 1 << s
    self.among = open_
    return policy_choose(self, open_, in_flight) if open_ else NONE


cdef inline int policy_took(PolicyState *self, int server) noexcept nogil:
    """The slot was handed to the server picked last: smooth weighted round-robin, as in nginx."""
    cdef int64_t weight, total = 0
    cdef uint32_t mask = self.among
    cdef int s
    if mask & (mask - 1) == 0 or self.kind == POLICY_LEAST_OUTSTANDING:
        return 0
    # A full server earns no turns, or it would get every slot once it had room again.
    for s in range(self.servers):
        weight = self.weight[s] * <int64_t> (mask >> s & 1)
        self.credit[s] += weight
        total += weight
    self.credit[server] -= total
    return 0


cdef class Policy:
    cdef PolicyState state
