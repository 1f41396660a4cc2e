"""The journal's writer: fixed records in a mapped file, which outlives a SIGKILL."""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy

from harness.includes.linux cimport (
    MAP_FAILED,
    MAP_SHARED,
    O_CLOEXEC,
    O_CREAT,
    O_RDWR,
    O_TRUNC,
    PROT_READ,
    PROT_WRITE,
    close,
    errno,
    ftruncate,
    mmap,
    munmap,
    open,
    posix_fallocate,
)

cdef enum:
    JOURNAL_ID_BYTES = 16
    # A multiple of the record (24) and of pages up to 64 KiB.
    JOURNAL_CHUNK_BYTES = 3 << 18

cdef struct JournalRecord:
    uint8_t id[JOURNAL_ID_BYTES]
    int64_t arrival_ns

cdef struct Journal:
    int fd
    int error  # errno of the first failure; nothing is written after it
    uint8_t *chunk
    int64_t chunk_offset
    size_t used  # bytes of the current chunk


cdef inline int journal_map(Journal *journal) noexcept nogil:
    """Allocates and maps the chunk at `chunk_offset`; -1 with `error` set if the disk is full."""
    cdef void *chunk
    # Blocks are allocated first: a full disk is an error here, not a SIGBUS at a store.
    journal.error = posix_fallocate(journal.fd, journal.chunk_offset, JOURNAL_CHUNK_BYTES)
    if journal.error:
        return -1
    chunk = mmap(NULL, JOURNAL_CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, journal.fd,
                 journal.chunk_offset)
    if chunk == MAP_FAILED:
        journal.error = errno
        return -1
    journal.chunk = <uint8_t *>chunk
    journal.used = 0
    return 0


cdef inline int journal_open(Journal *journal, const char *path) noexcept nogil:
    """Creates or empties the file; -1 with `error` set on failure."""
    journal.chunk = NULL
    journal.chunk_offset = 0
    journal.used = 0
    journal.error = 0
    journal.fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    if journal.fd < 0:
        journal.error = errno
        return -1
    return journal_map(journal)


cdef inline int journal_append(Journal *journal, const uint8_t *request_id, size_t length,
                               int64_t arrival_ns) noexcept nogil:
    cdef JournalRecord *record
    if journal.error:
        return -1
    if journal.used == JOURNAL_CHUNK_BYTES:
        munmap(journal.chunk, JOURNAL_CHUNK_BYTES)
        journal.chunk = NULL
        journal.chunk_offset += JOURNAL_CHUNK_BYTES
        if journal_map(journal) < 0:
            return -1
    record = <JournalRecord *>(journal.chunk + journal.used)
    memcpy(record.id, request_id, length if length < JOURNAL_ID_BYTES else JOURNAL_ID_BYTES)
    record.arrival_ns = arrival_ns
    journal.used += sizeof(JournalRecord)
    return 0


cdef inline int journal_close(Journal *journal) noexcept nogil:
    """Unmaps and cuts the file to the records written."""
    cdef int rc = 0
    if journal.fd < 0:
        return 0
    if journal.chunk != NULL:
        munmap(journal.chunk, JOURNAL_CHUNK_BYTES)
        journal.chunk = NULL
        rc = ftruncate(journal.fd, journal.chunk_offset + <int64_t>journal.used)
    close(journal.fd)
    journal.fd = -1
    return rc
