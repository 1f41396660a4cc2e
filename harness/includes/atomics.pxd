# GCC's atomic builtins, for words that two processes share.
from libc.stdint cimport int64_t, uint8_t, uint64_t


cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t hn_load_acquire(const uint64_t *p) {
        return __atomic_load_n(p, __ATOMIC_ACQUIRE);
    }
    static inline void hn_store_release(uint64_t *p, uint64_t v) {
        __atomic_store_n(p, v, __ATOMIC_RELEASE);
    }
    static inline int64_t hn_load_acquire_i64(const int64_t *p) {
        return __atomic_load_n(p, __ATOMIC_ACQUIRE);
    }
    static inline void hn_store_release_i64(int64_t *p, int64_t v) {
        __atomic_store_n(p, v, __ATOMIC_RELEASE);
    }
    static inline uint8_t hn_load_acquire_u8(const uint8_t *p) {
        return __atomic_load_n(p, __ATOMIC_ACQUIRE);
    }
    static inline void hn_store_release_u8(uint8_t *p, uint8_t v) {
        __atomic_store_n(p, v, __ATOMIC_RELEASE);
    }
    """
    uint64_t load_acquire "hn_load_acquire"(const uint64_t *p) noexcept nogil
    void store_release "hn_store_release"(uint64_t *p, uint64_t v) noexcept nogil
    int64_t load_acquire_i64 "hn_load_acquire_i64"(const int64_t *p) noexcept nogil
    void store_release_i64 "hn_store_release_i64"(int64_t *p, int64_t v) noexcept nogil
    uint8_t load_acquire_u8 "hn_load_acquire_u8"(const uint8_t *p) noexcept nogil
    void store_release_u8 "hn_store_release_u8"(uint8_t *p, uint8_t v) noexcept nogil
