"""One gRPC response, read as it arrives."""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memset


cdef class ResponseReader:
    cdef ResponseState state
    cdef uint8_t prefix
    cdef int64_t slot
    cdef uint32_t limit_bytes

    def __init__(self, str prefix, int64_t slot, uint32_t limit_bytes):
        memset(&self.state, 0, sizeof(self.state))
        self.prefix = ord(prefix)
        self.slot = slot
        self.limit_bytes = limit_bytes

    def feed(self, const uint8_t[::1] data not None):
        if data.shape[0] == 0:
            return not self.state.fault
        return response_feed(&self.state, &data[0], data.shape[0], self.limit_bytes,
                             self.prefix, self.slot) == 0

    @property
    def complete(self):
        return bool(response_complete(&self.state))

    @property
    def has_id(self):
        return bool(response_has_id(&self.state))

    @property
    def too_large(self):
        return self.state.fault == FAULT_TOO_LARGE

    @property
    def outputs(self):
        return self.state.outputs


def request_id(str prefix, int64_t slot):
    cdef uint8_t text[ID_BYTES]
    if len(prefix) != 1 or not 0 < ord(prefix) < 128 or not 0 <= slot < 1 << 60:
        raise ValueError(f"no request id for prefix {prefix!r} and slot {slot}")
    write_id(text, ord(prefix), slot)
    return (<char *> text)[:ID_BYTES]
