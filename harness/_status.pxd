"""gRPC status codes, and what stands in for them where none was sent."""

from libc.stdint cimport uint8_t, uint32_t

from harness.includes.nghttp2 cimport (
    NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_INADEQUATE_SECURITY, NGHTTP2_REFUSED_STREAM,
)

cdef enum:  # gRPC status codes
    GRPC_OK = 0
    GRPC_CANCELLED = 1
    GRPC_UNKNOWN = 2
    GRPC_PERMISSION_DENIED = 7
    GRPC_RESOURCE_EXHAUSTED = 8
    GRPC_UNIMPLEMENTED = 12
    GRPC_INTERNAL = 13
    GRPC_UNAVAILABLE = 14
    GRPC_UNAUTHENTICATED = 16


cdef inline uint8_t status_of_reset(uint32_t code) noexcept nogil:
    """gRPC's table for RST_STREAM (PROTOCOL-HTTP2.md, Errors)."""
    if code == <uint32_t> NGHTTP2_REFUSED_STREAM:
        return GRPC_UNAVAILABLE
    if code == <uint32_t> NGHTTP2_CANCEL:
        return GRPC_CANCELLED
    if code == <uint32_t> NGHTTP2_ENHANCE_YOUR_CALM:
        return GRPC_RESOURCE_EXHAUSTED
    if code == <uint32_t> NGHTTP2_INADEQUATE_SECURITY:
        return GRPC_PERMISSION_DENIED
    return GRPC_INTERNAL


cdef inline uint8_t status_of_http(int code) noexcept nogil:
    """gRPC's table for answers without grpc-status (http-grpc-status-mapping.md)."""
    if code == 400:
        return GRPC_INTERNAL
    if code == 401:
        return GRPC_UNAUTHENTICATED
    if code == 403:
        return GRPC_PERMISSION_DENIED
    if code == 404:
        return GRPC_UNIMPLEMENTED
    if code == 429 or 502 <= code <= 504:
        return GRPC_UNAVAILABLE
    return GRPC_UNKNOWN


cdef inline int decimal(const uint8_t *text, size_t length) noexcept nogil:
    """A small decimal number; -1 if it is none."""
    cdef int value = 0
    cdef size_t i
    if length == 0 or length > 3:
        return -1
    for i in range(length):
        if not 48 <= text[i] <= 57:
            return -1
        value = value * 10 + text[i] - 48
    return value
