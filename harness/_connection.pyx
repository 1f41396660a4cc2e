"""One HTTP/2 connection to one server, and the gRPC requests in flight on it."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memmove

from harness._ledger cimport LedgerState, ledger_alive, ledger_finish
from harness._response cimport (
    FAULT_TOO_LARGE, ID_BYTES, id_byte, response_complete, response_feed, response_has_id,
    write_id,
)
from harness._shm cimport (
    ENTRY_EXPIRED, ENTRY_HANDED, NONE, OUTCOME_ERROR, OUTCOME_OK, REASON_CONNECTION_LOST,
    REASON_GRPC_STATUS, REASON_INVALID_RESPONSE, REASON_NONE, REASON_STREAM_RESET,
    REASON_TOO_LARGE, REASON_WRONG_ID, Entry,
)
from harness._status cimport (
    GRPC_INTERNAL, GRPC_OK, GRPC_RESOURCE_EXHAUSTED, GRPC_UNAVAILABLE, GRPC_UNKNOWN, decimal,
    status_of_http, status_of_reset,
)
from harness.includes.linux cimport (
    EAGAIN, EINPROGRESS, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT,
    IPPROTO_TCP, MSG_NOSIGNAL, SO_ERROR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET,
    TCP_NODELAY, clock_ns, close, connect, epoll_ctl, epoll_event, errno, getsockopt, recv, send,
    setsockopt, sockaddr, socket, socklen_t,
)
from harness.includes.nghttp2 cimport *

cdef enum:
    OUT_BYTES = 1 << 20
    OUT_HIGH_BYTES = 1 << 19  # no more frames are packed beyond this
    FRAME_LIMIT_BYTES = 1 << 18
    STREAM_WINDOW_BYTES = 1 << 24
    STREAMS_PER_CONNECTION = 1 << 30
    FIRST_BACKOFF_NS = 10000000
    LAST_BACKOFF_NS = 1000000000

cdef nghttp2_session_callbacks *callbacks = NULL
cdef nghttp2_option *options = NULL


cdef inline int32_t entry_of(Connection *self, int32_t stream_id) noexcept nogil:
    if self.cached_stream != stream_id:
        self.cached_stream = stream_id
        self.cached_entry = <int32_t> (<size_t> nghttp2_session_get_stream_user_data(
            self.session, stream_id)) - 1
    return self.cached_entry


cdef ssize_t read_body(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length,
                       uint32_t *data_flags, nghttp2_data_source *source,
                       void *user_data) noexcept nogil:
    cdef Connection *self = <Connection *> user_data
    cdef Template *template = self.template
    cdef Entry *entry = &self.ledger.entries[source.fd]
    cdef size_t first = entry.written_bytes
    cdef size_t end = first + length
    cdef size_t i
    if end >= template.body_bytes:
        end = template.body_bytes
        data_flags[0] |= <uint32_t> NGHTTP2_DATA_FLAG_EOF
        self.completed = source.fd
    memcpy(buf, template.body + first, end - first)
    if first <= template.id_offset and end >= template.id_offset + ID_BYTES:
        write_id(buf + template.id_offset - first, template.prefix, entry.slot)
    elif first < template.id_offset + ID_BYTES and end > template.id_offset:
        for i in range(max(first, template.id_offset), min(end, template.id_offset + ID_BYTES)):
            buf[i - first] = id_byte(template.prefix, entry.slot, <int> (i - template.id_offset))
    entry.written_bytes = <uint32_t> end
    return <ssize_t> (end - first)


cdef ssize_t on_read_length(nghttp2_session *session, uint8_t frame_type, int32_t stream_id,
                            int32_t session_window, int32_t stream_window, uint32_t max_frame_size,
                            void *user_data) noexcept nogil:
    cdef ssize_t length = min(session_window, stream_window)
    return min(length, min(<ssize_t> max_frame_size, <ssize_t> FRAME_LIMIT_BYTES))


cdef int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                   size_t namelen, const uint8_t *value, size_t valuelen, uint8_t flags,
                   void *user_data) noexcept nogil:
    cdef Connection *self = <Connection *> user_data
    cdef int32_t e = entry_of(self, frame.hd.stream_id)
    cdef Entry *entry
    cdef Endpoint *endpoint = self.endpoint
    cdef int code
    if e < 0:
        return 0
    entry = &self.ledger.entries[e]
    if entry.t_first_ns < 0:
        entry.t_first_ns = self.now_ns
    if namelen == 7 and memcmp(name, b":status", 7) == 0:
        code = decimal(value, valuelen)
        entry.http_status = 1 if code == 200 else 1 + status_of_http(code)
    elif namelen == 11 and memcmp(name, b"grpc-status", 11) == 0:
        code = decimal(value, valuelen)
        entry.grpc_status = 1 + (code if 0 <= code <= 200 else GRPC_UNKNOWN)
        if code != 0 and endpoint.first_status == 0:
            endpoint.first_status = entry.grpc_status
    elif namelen == 12 and endpoint.message_bytes == 0 and memcmp(name, b"grpc-message", 12) == 0:
        endpoint.message_bytes = <uint16_t> min(valuelen, <size_t> MESSAGE_BYTES)
        memcpy(endpoint.message, value, endpoint.message_bytes)
    return 0


cdef int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                 size_t length, void *user_data) noexcept nogil:
    cdef Connection *self = <Connection *> user_data
    cdef int32_t e = entry_of(self, stream_id)
    cdef Entry *entry
    if e < 0:
        return 0
    entry = &self.ledger.entries[e]
    if (response_feed(&entry.response, data, length, self.template.response_limit_bytes,
                      self.template.prefix, entry.slot) < 0
            and entry.response.fault == FAULT_TOO_LARGE):
        connection_reset(self, e)
    return 0


cdef int on_frame(nghttp2_session *session, const nghttp2_frame *frame,
                  void *user_data) noexcept nogil:
    cdef Connection *self = <Connection *> user_data
    if frame.hd.type == NGHTTP2_SETTINGS:
        if frame.hd.flags & NGHTTP2_FLAG_ACK:
            self.settings_acked = True
        else:
            self.settings_seen = True
            self.stream_limit = nghttp2_session_get_remote_settings(
                session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
        if self.state == CONN_SETTLING and self.settings_seen and self.settings_acked:
            self.state = CONN_READY
            self.backoff_ns = 0
            self.graceful = False
    elif frame.hd.type == NGHTTP2_RST_STREAM:
        self.reset_stream = frame.hd.stream_id
    elif frame.hd.type == NGHTTP2_GOAWAY:
        self.state = CONN_LEAVING
        self.graceful = frame.goaway.error_code == <uint32_t> NGHTTP2_NO_ERROR
    return 0


cdef int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
                         void *user_data) noexcept nogil:
    cdef Connection *self = <Connection *> user_data
    cdef int32_t e = entry_of(self, stream_id)
    cdef Entry *entry
    cdef uint8_t status, reason
    self.cached_stream = -1
    if e < 0:
        return 0
    self.open_streams -= 1
    entry = &self.ledger.entries[e]
    entry.response_bytes = entry.response.message_bytes
    status = GRPC_INTERNAL
    if entry.response.fault == FAULT_TOO_LARGE:
        reason = REASON_TOO_LARGE
        status = GRPC_RESOURCE_EXHAUSTED
    elif entry.grpc_status > 1:
        reason = REASON_GRPC_STATUS
        status = entry.grpc_status - 1
    elif (error_code != <uint32_t> NGHTTP2_NO_ERROR
          or (self.reset_stream == stream_id and entry.grpc_status == 0)):
        reason = REASON_STREAM_RESET
        status = status_of_reset(error_code)
    elif entry.http_status > 1:
        reason = REASON_GRPC_STATUS
        status = entry.http_status - 1
    elif entry.grpc_status == 0:
        reason = REASON_INVALID_RESPONSE
        status = GRPC_UNKNOWN
    elif not response_complete(&entry.response):
        reason = REASON_INVALID_RESPONSE
    elif not response_has_id(&entry.response):
        reason = REASON_WRONG_ID
    elif entry.response.outputs < self.template.outputs:
        reason = REASON_INVALID_RESPONSE
    else:
        return ledger_finish(self.ledger, e, OUTCOME_OK, REASON_NONE, GRPC_OK, self.now_ns)
    return ledger_finish(self.ledger, e, OUTCOME_ERROR, reason, status, self.now_ns)


cdef int connection_init(Connection *self, LedgerState *ledger, Template *template,
                         Endpoint *endpoint, nghttp2_mem *memory, int epoll_fd,
                         uint16_t index) noexcept nogil:
    """Memory for a connection that is closed. -1: no memory."""
    cdef uint32_t capacity = 1
    while capacity < <uint32_t> ledger.capacity:
        capacity *= 2
    self.ledger = ledger
    self.template = template
    self.endpoint = endpoint
    self.memory = memory
    self.epoll_fd = epoll_fd
    self.index = index
    self.fd = -1
    self.state = CONN_CLOSED
    self.random = <uint64_t> clock_ns() ^ (<uint64_t> index << 32) | 1
    self.out = <uint8_t *> malloc(OUT_BYTES)
    self.unsent = <Unsent *> calloc(capacity, sizeof(Unsent))
    self.unsent_mask = capacity - 1
    return 0 if self.out != NULL and self.unsent != NULL else -1


cdef int disconnect(Connection *self) noexcept nogil:
    if self.session != NULL:
        nghttp2_session_del(self.session)
        self.session = NULL
    if self.fd >= 0:
        close(self.fd)
        self.fd = -1
    self.state = CONN_CLOSED
    return 0


cdef int connection_free(Connection *self) noexcept nogil:
    disconnect(self)
    free(self.out)
    free(self.unsent)
    self.out = NULL
    self.unsent = NULL
    return 0


cdef int watch(Connection *self, int operation, bint out) noexcept nogil:
    cdef epoll_event event
    event.events = EPOLLIN | (EPOLLOUT if out else 0)
    event.data.ptr = self
    self.writable = not out
    return epoll_ctl(self.epoll_fd, operation, self.fd, &event)


cdef int connection_open(Connection *self, int64_t now_ns) noexcept nogil:
    """Start to connect; what comes of it shows in the state. Never blocks."""
    cdef int one = 1
    self.fd = socket(self.endpoint.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if self.fd < 0:
        return connection_lose(self, now_ns)
    setsockopt(self.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
    self.state = CONN_CONNECTING
    self.out_first = self.out_end = 0
    self.queued_bytes = self.written_bytes = 0
    self.unsent_first = self.unsent_end = 0
    self.open_streams = self.streams_used = 0
    self.stream_limit = 0
    self.settings_seen = self.settings_acked = self.dirty = False
    self.cached_stream = self.reset_stream = -1
    self.completed = NONE
    if (connect(self.fd, <sockaddr *> &self.endpoint.address, self.endpoint.address_bytes) < 0
            and errno != EINPROGRESS):
        return connection_lose(self, now_ns)
    if watch(self, EPOLL_CTL_ADD, True) < 0:
        return connection_lose(self, now_ns)
    return 0


cdef int greet(Connection *self) noexcept nogil:
    """The socket is connected: start the session and send our SETTINGS."""
    cdef nghttp2_settings_entry entries[2]
    cdef int error = 0
    cdef socklen_t length = sizeof(error)
    if getsockopt(self.fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 or error != 0:
        return -1
    if nghttp2_session_client_new3(&self.session, callbacks, self, options,
                                   self.memory) != 0:
        return -1
    entries[0].settings_id = NGHTTP2_SETTINGS_ENABLE_PUSH
    entries[0].value = 0
    entries[1].settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
    entries[1].value = STREAM_WINDOW_BYTES
    nghttp2_submit_settings(self.session, 0, entries, 2)
    nghttp2_session_set_local_window_size(self.session, 0, 0, NGHTTP2_MAX_WINDOW_SIZE // 2)
    self.state = CONN_SETTLING
    self.endpoint.connects += 1
    self.dirty = True
    return 0


cdef int connection_submit(Connection *self, int32_t e) noexcept nogil:
    """Queue the request of a handed slot. -1: it could not be, the stream does not exist."""
    cdef Entry *entry = &self.ledger.entries[e]
    cdef nghttp2_data_provider provider
    cdef int32_t stream_id
    provider.source.ptr = NULL
    provider.source.fd = e
    provider.read_callback = read_body
    entry.connection = self.index
    entry.written_bytes = 0
    entry.http_status = 0
    entry.grpc_status = 0
    stream_id = nghttp2_submit_request(self.session, NULL, self.endpoint.fields,
                                       self.endpoint.field_count, &provider,
                                       <void *> <size_t> (e + 1))
    if stream_id < 0:
        return -1
    entry.stream_id = stream_id
    self.open_streams += 1
    self.streams_used += 1
    if self.streams_used >= STREAMS_PER_CONNECTION:
        self.state = CONN_LEAVING
        self.graceful = True
    self.dirty = True
    return 0


cdef int connection_reset(Connection *self, int32_t e) noexcept nogil:
    """Give up one stream; its entry is freed when nghttp2 reports it closed."""
    self.dirty = True
    return nghttp2_submit_rst_stream(self.session, 0, self.ledger.entries[e].stream_id,
                                     <uint32_t> NGHTTP2_CANCEL)


cdef int pack(Connection *self) noexcept nogil:
    """Move frames from the session to the output buffer. -1: the session is broken."""
    cdef const uint8_t *data = NULL
    cdef ssize_t n
    cdef Unsent *unsent
    while self.out_end - self.out_first < OUT_HIGH_BYTES:
        n = nghttp2_session_mem_send(self.session, &data)
        if n <= 0:
            return <int> n
        if self.out_end + n > OUT_BYTES:
            memmove(self.out, self.out + self.out_first, self.out_end - self.out_first)
            self.out_end -= self.out_first
            self.out_first = 0
            if self.out_end + n > OUT_BYTES:
                return -1
        memcpy(self.out + self.out_end, data, n)
        self.out_end += n
        self.queued_bytes += n
        if self.completed != NONE:
            unsent = &self.unsent[self.unsent_end & self.unsent_mask]
            unsent.e = self.completed
            unsent.slot = self.ledger.entries[self.completed].slot
            unsent.end_bytes = self.queued_bytes
            self.unsent_end += 1
            self.completed = NONE
    return 1


cdef int stamp_sent(Connection *self) noexcept nogil:
    """Give every request whose last byte is out the time after that write."""
    cdef int64_t now_ns
    cdef Unsent *unsent
    cdef Entry *entry
    if self.unsent_first == self.unsent_end:
        return 0
    now_ns = clock_ns() - self.origin_ns
    while self.unsent_first != self.unsent_end:
        unsent = &self.unsent[self.unsent_first & self.unsent_mask]
        if unsent.end_bytes > self.written_bytes:
            break
        entry = &self.ledger.entries[unsent.e]
        if entry.slot == unsent.slot:
            entry.t_sent_ns = now_ns
        self.unsent_first += 1
    return 0


cdef inline int session_over(Connection *self) noexcept nogil:
    """-1: after a protocol error the session has said its GOAWAY; the peer may keep the socket."""
    if nghttp2_session_want_read(self.session) or nghttp2_session_want_write(self.session):
        return 0
    return -1


cdef int connection_flush(Connection *self) noexcept nogil:
    """Write all that is due, as far as the socket takes it. -1: the connection is lost."""
    cdef ssize_t n
    cdef int more = 1
    self.dirty = False
    if self.session == NULL:
        return 0
    while True:
        more = pack(self)
        if more < 0:
            return -1
        if self.out_first == self.out_end:
            break
        n = send(self.fd, self.out + self.out_first, self.out_end - self.out_first, MSG_NOSIGNAL)
        if n < 0:
            if errno != EAGAIN:
                return -1
            n = 0
        self.out_first += n
        self.written_bytes += n
        stamp_sent(self)
        if self.out_first != self.out_end:
            if self.writable:
                watch(self, EPOLL_CTL_MOD, True)
            return session_over(self)
        self.out_first = self.out_end = 0
        if not more:
            break
    if not self.writable:
        watch(self, EPOLL_CTL_MOD, False)
    return session_over(self)


cdef int connection_event(Connection *self, uint32_t events, uint8_t *buffer,
                          size_t buffer_bytes) noexcept nogil:
    """Work on what epoll reported; at most one read. -1: the connection is lost."""
    cdef ssize_t n
    if self.state == CONN_CONNECTING:
        if greet(self) < 0:
            return -1
        return connection_flush(self)
    if events & (EPOLLIN | EPOLLERR | EPOLLHUP):
        n = recv(self.fd, buffer, buffer_bytes, 0)
        if n == 0 or (n < 0 and errno != EAGAIN):
            return -1
        if n > 0:
            self.now_ns = clock_ns() - self.origin_ns
            ledger_alive(self.ledger, self.now_ns)
            if nghttp2_session_mem_recv(self.session, buffer, n) != n:
                return -1
            if nghttp2_session_want_write(self.session):
                self.dirty = True
            elif not nghttp2_session_want_read(self.session):
                return -1
    if events & EPOLLOUT:
        self.dirty = True
    return 0


cdef inline bint has_left(const Connection *self) noexcept nogil:
    """It did its work and was told to go, so that slots wait for another, made at once."""
    return self.state == CONN_LEAVING and self.graceful and self.streams_used > 0


cdef int connection_lose(Connection *self, int64_t now_ns) noexcept nogil:
    """It broke: count that, close it, and set when to try again."""
    if self.state >= CONN_SETTLING and not (has_left(self) and self.open_streams == 0):
        self.endpoint.losses += 1
    return connection_close(self, now_ns)


cdef int connection_close(Connection *self, int64_t now_ns) noexcept nogil:
    """Close it, end what was in flight on it as errors, and set when to try again."""
    cdef int32_t e
    cdef Entry *entry
    cdef bint left = has_left(self)
    disconnect(self)
    for e in range(self.ledger.capacity):
        entry = &self.ledger.entries[e]
        if entry.connection == self.index and (entry.state == ENTRY_HANDED
                                               or entry.state == ENTRY_EXPIRED):
            ledger_finish(self.ledger, e, OUTCOME_ERROR, REASON_CONNECTION_LOST,
                          GRPC_UNAVAILABLE, now_ns)
    self.open_streams = 0
    self.graceful = left
    if left:
        self.retry_ns = now_ns
        return 0
    self.backoff_ns = min(max(<int64_t> FIRST_BACKOFF_NS, 2 * self.backoff_ns),
                          <int64_t> LAST_BACKOFF_NS)
    # xorshift64: jitter keeps workers from knocking in step
    self.random ^= self.random << 13
    self.random ^= self.random >> 7
    self.random ^= self.random << 17
    self.retry_ns = now_ns + self.backoff_ns // 2 + <int64_t> (
        self.random % <uint64_t> self.backoff_ns)
    return 0


cdef int make_callbacks() except -1:
    global callbacks, options
    if (nghttp2_session_callbacks_new(&callbacks) != 0 or nghttp2_option_new(&options) != 0):
        raise MemoryError
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header)
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data)
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame)
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close)
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, on_read_length)
    # The peer's limit counts once its SETTINGS are here; we send nothing before.
    nghttp2_option_set_peer_max_concurrent_streams(options, 0xffffffff)
    return 0


make_callbacks()
