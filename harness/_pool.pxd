"""Allocator for nghttp2: blocks in classes of 64 bytes on free lists, never locked.

The sessions of one pool live on one thread. Blocks go back to the system when the pool is
emptied, not before.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from harness.includes.nghttp2 cimport nghttp2_mem

cdef enum:
    POOL_CLASS_BYTES = 64
    POOL_CLASSES = 64
    POOL_HEADER_BYTES = 16
    POOL_SLAB_BYTES = 1 << 18

cdef struct Pool:
    void *free_blocks[POOL_CLASSES + 1]
    void *slabs
    uint8_t *slab
    size_t slab_left


cdef inline nghttp2_mem pool_functions(Pool *pool) noexcept nogil:
    """What nghttp2 calls, for this pool."""
    cdef nghttp2_mem mem
    mem.mem_user_data = pool
    mem.malloc = pool_malloc
    mem.free = pool_free
    mem.calloc = pool_calloc
    mem.realloc = pool_realloc
    return mem


cdef inline void *pool_malloc(size_t size, void *pool_ptr) noexcept nogil:
    """A block of at least `size` bytes, aligned to 16, or NULL."""
    cdef Pool *pool = <Pool *>pool_ptr
    cdef size_t cls = (size + POOL_CLASS_BYTES - 1) // POOL_CLASS_BYTES
    cdef size_t block_bytes
    cdef uint8_t *block
    if cls == 0:
        cls = 1
    if cls > POOL_CLASSES:
        if size > (<size_t>1 << 40):
            return NULL
        block = <uint8_t *>malloc(size + POOL_HEADER_BYTES)
        if block == NULL:
            return NULL
        (<size_t *>block)[0] = size
        return block + POOL_HEADER_BYTES
    block = <uint8_t *>pool.free_blocks[cls]
    if block != NULL:
        pool.free_blocks[cls] = (<void **>block)[0]
        return block
    block_bytes = cls * POOL_CLASS_BYTES + POOL_HEADER_BYTES
    if pool.slab_left < block_bytes:
        block = <uint8_t *>malloc(POOL_SLAB_BYTES)
        if block == NULL:
            return NULL
        (<void **>block)[0] = pool.slabs
        pool.slabs = block
        pool.slab = block + POOL_HEADER_BYTES
        pool.slab_left = POOL_SLAB_BYTES - POOL_HEADER_BYTES
    block = pool.slab
    pool.slab += block_bytes
    pool.slab_left -= block_bytes
    (<size_t *>block)[0] = cls * POOL_CLASS_BYTES
    return block + POOL_HEADER_BYTES


cdef inline void pool_free(void *ptr, void *pool_ptr) noexcept nogil:
    cdef Pool *pool = <Pool *>pool_ptr
    cdef size_t size
    if ptr == NULL:
        return
    size = (<size_t *>(<uint8_t *>ptr - POOL_HEADER_BYTES))[0]
    if size > POOL_CLASSES * POOL_CLASS_BYTES:
        free(<uint8_t *>ptr - POOL_HEADER_BYTES)
        return
    (<void **>ptr)[0] = pool.free_blocks[size // POOL_CLASS_BYTES]
    pool.free_blocks[size // POOL_CLASS_BYTES] = ptr


cdef inline void *pool_calloc(size_t nmemb, size_t size, void *pool_ptr) noexcept nogil:
    cdef void *ptr
    if size != 0 and nmemb > (<size_t>1 << 40) // size:
        return NULL
    ptr = pool_malloc(nmemb * size, pool_ptr)
    if ptr != NULL:
        memset(ptr, 0, nmemb * size)
    return ptr


cdef inline void *pool_realloc(void *ptr, size_t size, void *pool_ptr) noexcept nogil:
    cdef size_t old
    cdef void *moved
    if ptr == NULL:
        return pool_malloc(size, pool_ptr)
    old = (<size_t *>(<uint8_t *>ptr - POOL_HEADER_BYTES))[0]
    if size <= old and old <= POOL_CLASSES * POOL_CLASS_BYTES:
        return ptr
    moved = pool_malloc(size, pool_ptr)
    if moved == NULL:
        return NULL
    memcpy(moved, ptr, old if old < size else size)
    pool_free(ptr, pool_ptr)
    return moved


cdef inline void pool_empty(Pool *pool) noexcept nogil:
    """Gives every slab back; no block of the pool may be in use."""
    cdef void *slab = pool.slabs
    cdef void *older
    while slab != NULL:
        older = (<void **>slab)[0]
        free(slab)
        slab = older
    memset(pool, 0, sizeof(Pool))
