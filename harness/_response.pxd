# One gRPC response, read as it arrives: the 5-byte prefix, then the top-level fields of a
# ModelInferResponse. Only the id and the number of outputs are looked at; the rest is skipped.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp

cdef enum:
    ID_BYTES = 16
    FIELD_ID = 3
    FIELD_OUTPUTS = 5
    FIELD_MAX = (1 << 29) - 1
    TAG_BITS = 35  # of the 5 bytes a tag may take

cdef enum:  # phase
    PREFIX = 0
    TAG = 1
    LENGTH = 2
    SKIP = 3
    ID = 4
    VARINT = 5

cdef enum:  # fault
    FAULT_NONE = 0
    FAULT_MALFORMED = 1
    FAULT_TOO_LARGE = 2

cdef struct ResponseState:
    uint64_t value  # of the varint being read
    uint32_t left  # bytes of the field being skipped
    uint32_t message_left
    uint32_t message_bytes
    uint16_t outputs
    uint8_t prefix_seen
    uint8_t phase
    uint8_t shift
    uint8_t field
    uint8_t id_length
    uint8_t id_matched
    uint8_t id_count
    uint8_t fault


cdef extern from *:
    """
    static const uint8_t hn_hex_digits[] = "0123456789abcdef";
    """
    const uint8_t hex_digits "hn_hex_digits"[16]


cdef inline uint8_t id_byte(uint8_t prefix, int64_t slot, int position) noexcept nogil:
    """Byte `position` of a request id: the prefix, then 15 lower-case hex digits of the slot."""
    if position == 0:
        return prefix
    return hex_digits[(slot >> (4 * (15 - position))) & 15]


cdef inline int write_id(uint8_t *target, uint8_t prefix, int64_t slot) noexcept nogil:
    cdef int i
    target[0] = prefix
    for i in range(ID_BYTES - 1, 0, -1):
        target[i] = hex_digits[slot & 15]
        slot >>= 4
    return 0


cdef inline int fail(ResponseState *self, uint8_t fault) noexcept nogil:
    self.fault = fault
    return -1


cdef inline int end_field(ResponseState *self) noexcept nogil:
    self.phase = TAG
    self.value = 0
    self.shift = 0
    return 0


cdef inline int on_tag(ResponseState *self) noexcept nogil:
    """A tag is complete: what follows depends on its wire type."""
    cdef uint64_t wire = self.value & 7
    cdef uint64_t field = self.value >> 3
    if field == 0 or field > FIELD_MAX or self.shift > TAG_BITS:
        return fail(self, FAULT_MALFORMED)
    self.field = <uint8_t> (field if field < 255 else 255)
    self.value = 0
    self.shift = 0
    if wire == 2:
        self.phase = LENGTH
    elif wire == 0:
        self.phase = VARINT
    elif wire == 1 or wire == 5:
        self.left = 8 if wire == 1 else 4
        self.phase = SKIP
    else:
        return fail(self, FAULT_MALFORMED)
    return 0


cdef inline int on_length(ResponseState *self) noexcept nogil:
    if self.value > self.message_left:
        return fail(self, FAULT_MALFORMED)
    self.left = <uint32_t> self.value
    if self.field == FIELD_OUTPUTS and self.outputs < 65535:
        self.outputs += 1
    if self.field == FIELD_ID:
        self.id_count = 1
        self.id_matched = 0
        self.id_length = <uint8_t> (self.left if self.left < 255 else 255)
    if self.left == 0:
        return end_field(self)
    self.phase = ID if self.field == FIELD_ID else SKIP
    return 0


cdef inline int response_feed(ResponseState *self, const uint8_t *data, size_t length,
                              uint32_t limit_bytes, uint8_t prefix, int64_t slot) noexcept nogil:
    """Take the next bytes of the body; -1 once it is known to be no answer."""
    cdef size_t i = 0
    cdef uint32_t step
    cdef uint8_t byte
    cdef uint8_t expected[ID_BYTES]
    if self.fault:
        return -1
    while i < length:
        if self.phase == PREFIX:
            byte = data[i]
            i += 1
            if self.prefix_seen == 5:  # a second message in a unary answer
                return fail(self, FAULT_MALFORMED)
            if self.prefix_seen == 0:
                if byte != 0:  # compressed, though we accept only identity
                    return fail(self, FAULT_MALFORMED)
            else:
                self.message_left = (self.message_left << 8) | byte
            self.prefix_seen += 1
            if self.prefix_seen == 5:
                self.message_bytes = self.message_left
                if self.message_left > limit_bytes:
                    return fail(self, FAULT_TOO_LARGE)
                if self.message_left:
                    end_field(self)
            continue
        if self.phase == SKIP or self.phase == ID:
            step = self.left
            if step > length - i:
                step = <uint32_t> (length - i)
            if step > self.message_left:
                return fail(self, FAULT_MALFORMED)
            if self.phase == ID and step == ID_BYTES and self.left == ID_BYTES:
                write_id(expected, prefix, slot)
                if memcmp(data + i, expected, ID_BYTES) == 0:
                    self.id_matched = ID_BYTES
            elif self.phase == ID:
                step = 1
                if (self.id_matched < ID_BYTES
                        and data[i] == id_byte(prefix, slot, self.id_matched)):
                    self.id_matched += 1
            i += step
            self.left -= step
            self.message_left -= step
            if self.left == 0:
                end_field(self)
        else:
            byte = data[i]
            i += 1
            self.message_left -= 1
            if self.shift > 63:
                return fail(self, FAULT_MALFORMED)
            self.value |= (<uint64_t> (byte & 127)) << self.shift
            self.shift += 7
            if not byte & 128:
                if self.phase == TAG:
                    on_tag(self)
                elif self.phase == LENGTH:
                    on_length(self)
                else:
                    end_field(self)
                if self.fault:
                    return -1
        if self.message_left == 0:
            if self.phase != TAG or self.shift != 0:
                return fail(self, FAULT_MALFORMED)
            self.phase = PREFIX
    return 0


cdef inline bint response_complete(const ResponseState *self) noexcept nogil:
    """The one message has arrived whole and well-formed."""
    return not self.fault and self.prefix_seen == 5 and self.message_left == 0


cdef inline bint response_has_id(const ResponseState *self) noexcept nogil:
    """It carried the id of the slot."""
    return self.id_count == 1 and self.id_length == ID_BYTES and self.id_matched == ID_BYTES
