"""Service times and the order of completions: random numbers, latency, a heap by due time."""

from libc.math cimport cos, exp, log, sqrt
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport realloc

cdef struct Random:
    uint64_t state  # SplitMix64 (Steele, Lea, Flood 2014)

cdef struct Latency:
    int64_t fixed_ns  # used when sigma is negative
    double mu  # of ln(ns)
    double sigma

cdef struct Due:
    int64_t due_ns
    uint64_t order  # equal due times complete in the order they were started
    void *item

cdef struct DueHeap:
    Due *entries
    size_t count
    size_t room
    uint64_t started


cdef inline uint64_t random_bits(Random *random) noexcept nogil:
    cdef uint64_t z
    random.state += <uint64_t>0x9E3779B97F4A7C15ULL
    z = random.state
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9ULL
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EBULL
    return z ^ (z >> 31)


cdef inline double random_unit(Random *random) noexcept nogil:
    """Uniform in [0, 1)."""
    return <double>(random_bits(random) >> 11) * (1.0 / 9007199254740992.0)


cdef inline int64_t latency_draw(const Latency *latency, Random *random) noexcept nogil:
    """One service time in ns, at most a day."""
    cdef double z, ns
    if latency.sigma < 0:
        return latency.fixed_ns
    # Box-Muller; 1 - u keeps the logarithm off zero.
    z = sqrt(-2.0 * log(1.0 - random_unit(random)))
    z *= cos(6.283185307179586 * random_unit(random))
    ns = exp(latency.mu + latency.sigma * z)
    return <int64_t>ns if ns < 86400e9 else <int64_t>86400000000000


cdef inline bint due_before(const Due *a, const Due *b) noexcept nogil:
    return a.due_ns < b.due_ns or (a.due_ns == b.due_ns and a.order < b.order)


cdef inline int heap_push(DueHeap *heap, int64_t due_ns, void *item) noexcept nogil:
    """-1 when memory is out."""
    cdef size_t room, at, parent
    cdef Due *entries
    cdef Due entry
    if heap.count == heap.room:
        room = heap.room * 2 if heap.room else 1024
        entries = <Due *>realloc(heap.entries, room * sizeof(Due))
        if entries == NULL:
            return -1
        heap.entries = entries
        heap.room = room
    entry.due_ns = due_ns
    entry.order = heap.started
    entry.item = item
    heap.started += 1
    at = heap.count
    heap.count += 1
    while at > 0:
        parent = (at - 1) >> 1
        if not due_before(&entry, &heap.entries[parent]):
            break
        heap.entries[at] = heap.entries[parent]
        at = parent
    heap.entries[at] = entry
    return 0


cdef inline Due heap_pop(DueHeap *heap) noexcept nogil:
    """Takes the earliest entry; the heap must not be empty."""
    cdef Due first = heap.entries[0]
    cdef Due last
    cdef size_t at = 0, child
    heap.count -= 1
    last = heap.entries[heap.count]
    while True:
        child = 2 * at + 1
        if child >= heap.count:
            break
        if child + 1 < heap.count and due_before(&heap.entries[child + 1], &heap.entries[child]):
            child += 1
        if not due_before(&heap.entries[child], &last):
            break
        heap.entries[at] = heap.entries[child]
        at = child
    heap.entries[at] = last
    return first
