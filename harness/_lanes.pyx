"""A worker's connections to every server: opened, written, read, replaced."""

from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from harness._connection cimport (
    CONN_CLOSED, CONN_LEAVING, CONN_READY, Connection, Endpoint, connection_close,
    connection_event, connection_flush, connection_free, connection_has_credit, connection_init,
    connection_lose, connection_open, connection_reset,
)
from harness._ledger cimport Ledger, LedgerState
from harness._shm cimport ENTRY_EXPIRED
from harness.includes.atomics cimport store_release_u8
from harness.includes.linux cimport (
    EPOLL_CTL_ADD, EPOLLIN, MSG_DONTWAIT, clock_ns, close, epoll_create1, epoll_ctl, epoll_event,
    epoll_wait_ns, recv, sockaddr_storage,
)
from harness.includes.nghttp2 cimport (
    NGHTTP2_NV_FLAG_NO_COPY_NAME, NGHTTP2_NV_FLAG_NO_COPY_VALUE, nghttp2_nv,
)

cdef enum:
    EVENTS = 64
    READ_LIMIT_BYTES = 1 << 18
    READ_LEAST_BYTES = 1 << 13
    SETTLE_TURN_NS = 1000000


cdef class Lanes:
    def __cinit__(self):
        self.epoll_fd = -1

    def __init__(self, Ledger ledger not None, *, int control_fd, bytes body not None,
                 size_t id_offset, uint32_t outputs, uint32_t response_limit_bytes,
                 size_t response_bytes, endpoints, int lanes):
        cdef int i, s
        cdef epoll_event event
        if <Py_ssize_t> id_offset + 16 > len(body):
            raise ValueError("the id must lie within the body")
        self.ledger = ledger
        self.books = &ledger.state
        self.control_fd = control_fd
        self.servers = len(endpoints)
        self.per_server = lanes
        self.connection_count = 2 * self.servers * lanes
        self.read_bytes = min(max(<size_t> READ_LEAST_BYTES, 8 * response_bytes),
                              <size_t> READ_LIMIT_BYTES)
        self.keep = [body]
        self.template.body = body
        self.template.body_bytes = len(body)
        self.template.id_offset = id_offset
        self.template.outputs = outputs
        self.template.response_limit_bytes = response_limit_bytes
        self.endpoints = <Endpoint *> calloc(self.servers, sizeof(Endpoint))
        self.connections = <Connection *> calloc(self.connection_count, sizeof(Connection))
        self.places = <uint16_t *> calloc(self.servers * lanes, sizeof(uint16_t))
        self.buffer = <uint8_t *> malloc(self.read_bytes)
        if (self.endpoints == NULL or self.connections == NULL or self.places == NULL
                or self.buffer == NULL):
            raise MemoryError
        self.epoll_fd = epoll_create1(0)
        event.events = EPOLLIN
        event.data.ptr = NULL
        if self.epoll_fd < 0 or epoll_ctl(self.epoll_fd, EPOLL_CTL_ADD, control_fd, &event) < 0:
            raise OSError("epoll is not to be had")
        for s, (address, fields) in enumerate(endpoints):
            self.set_endpoint(s, address, fields)
        for i in range(self.connection_count):
            s = i % self.servers
            if connection_init(&self.connections[i], self.books, &self.template,
                               &self.endpoints[s], self.epoll_fd, i) < 0:
                raise MemoryError
            if i < self.servers * lanes:
                self.places[s * lanes + i // self.servers] = i

    cdef set_endpoint(self, int s, bytes address, fields):
        """``address``: a struct sockaddr; ``fields``: header names and values, as sent."""
        cdef Endpoint *endpoint = &self.endpoints[s]
        cdef bytes name, value
        cdef int i
        if len(address) > <Py_ssize_t> sizeof(sockaddr_storage):
            raise ValueError("a socket address is too long")
        memcpy(&endpoint.address, <const char *> address, len(address))
        endpoint.address_bytes = len(address)
        endpoint.server = s
        endpoint.field_count = len(fields)
        endpoint.fields = <nghttp2_nv *> calloc(len(fields), sizeof(nghttp2_nv))
        if endpoint.fields == NULL:
            raise MemoryError
        for i, (name, value) in enumerate(fields):
            self.keep.append((name, value))
            endpoint.fields[i].name = <uint8_t *> <const char *> name
            endpoint.fields[i].namelen = len(name)
            endpoint.fields[i].value = <uint8_t *> <const char *> value
            endpoint.fields[i].valuelen = len(value)
            endpoint.fields[i].flags = (NGHTTP2_NV_FLAG_NO_COPY_NAME
                                        | NGHTTP2_NV_FLAG_NO_COPY_VALUE)

    def __dealloc__(self):
        cdef int i
        if self.connections != NULL:
            for i in range(self.connection_count):
                if self.connections[i].ledger != NULL:
                    connection_free(&self.connections[i])
        if self.endpoints != NULL:
            for i in range(self.servers):
                free(self.endpoints[i].fields)
        if self.epoll_fd >= 0:
            close(self.epoll_fd)
        free(self.connections)
        free(self.endpoints)
        free(self.places)
        free(self.buffer)

    def connect(self, int64_t patience_ns, required):
        cdef int64_t end_ns = clock_ns() + patience_ns
        cdef int i
        cdef uint32_t needed = 0
        cdef bint settled = False
        for i, server_required in enumerate(required):
            if server_required:
                needed |= <uint32_t> 1 << i
        self.origin_ns = 0
        with nogil:
            for i in range(self.servers * self.per_server):
                self.connections[i].origin_ns = 0
                if self.connections[i].state == CONN_CLOSED:
                    connection_open(&self.connections[i], clock_ns())
            while not settled and clock_ns() < end_ns:
                if self.wait(SETTLE_TURN_NS) < 0:
                    break
                self.flush(clock_ns())
                if self.broken:
                    self.mend(clock_ns())
                settled = True
                for i in range(self.servers * self.per_server):
                    if (self.connections[self.places[i]].state != CONN_READY
                            and needed >> (i // self.per_server) & 1):
                        settled = False
        return settled

    def settled(self):
        return [
            sum(self.connections[self.places[s * self.per_server + k]].state == CONN_READY
                for k in range(self.per_server))
            for s in range(self.servers)
        ]

    def report(self):
        cdef Endpoint *endpoint
        report = []
        for s in range(self.servers):
            endpoint = &self.endpoints[s]
            report.append({
                "connects": endpoint.connects,
                "losses": endpoint.losses,
                "first_error_status": endpoint.first_status - 1 if endpoint.first_status else None,
                "first_error_message": endpoint.message[:endpoint.message_bytes].decode(
                    "utf-8", "replace"),
            })
        return report

    cdef int begin(self, uint8_t prefix, int64_t origin_ns) noexcept nogil:
        """A new phase: times are since ``origin_ns``, what is closed is opened at once."""
        cdef int i
        self.template.prefix = prefix
        self.origin_ns = origin_ns
        for i in range(self.connection_count):
            self.connections[i].origin_ns = origin_ns
            self.connections[i].backoff_ns = 0
            if self.connections[i].state == CONN_CLOSED:
                self.connections[i].retry_ns = 0
        for i in range(self.servers):
            self.endpoints[i].first_status = 0
            self.endpoints[i].message_bytes = 0
        self.broken = True
        return 0

    cdef Connection *free_one(self, int server, bint *hope) noexcept nogil:
        """A connection that takes one more stream, or NULL; ``hope``: one will before long."""
        cdef Connection *connection
        cdef int _
        hope[0] = False
        for _ in range(self.per_server):
            self.turn += 1
            connection = &self.connections[self.places[
                server * self.per_server + self.turn % <uint32_t> self.per_server]]
            if connection_has_credit(connection):
                return connection
            if connection.state == CONN_READY or connection.graceful:
                hope[0] = True
        return NULL

    cdef int flush(self, int64_t now_ns) noexcept nogil:
        """Write what is queued."""
        cdef Connection *connection
        cdef int i
        for i in range(self.connection_count):
            connection = &self.connections[i]
            if connection.dirty and connection_flush(connection) < 0:
                connection_lose(connection, now_ns)
                self.broken = True
        return 0

    cdef int wait(self, int64_t timeout_ns) noexcept nogil:
        """Work on what the sockets bring; the number of events. -1: the coordinator is gone."""
        cdef epoll_event events[EVENTS]
        cdef Connection *connection
        cdef char scrap[64]
        cdef int i, before
        cdef int n = epoll_wait_ns(self.epoll_fd, events, EVENTS, timeout_ns)
        for i in range(n):
            if events[i].data.ptr == NULL:
                if recv(self.control_fd, scrap, sizeof(scrap), MSG_DONTWAIT) == 0:
                    return -1
                continue
            connection = <Connection *> events[i].data.ptr
            if connection.fd < 0:
                continue
            before = connection.state
            if connection_event(connection, events[i].events, self.buffer, self.read_bytes) < 0:
                connection_lose(connection, clock_ns() - self.origin_ns)
            if connection.state != CONN_READY or before != CONN_READY:
                self.broken = True
        return n if n > 0 else 0

    cdef int mend(self, int64_t now_ns) noexcept nogil:
        """Replace connections that are leaving, reopen lost ones, say which are ready."""
        cdef Connection *connection
        cdef int i, k, lane, ready
        self.broken = False
        self.retry_ns = INT64_MAX
        for lane in range(self.servers * self.per_server):
            connection = &self.connections[self.places[lane]]
            if connection.state == CONN_LEAVING and connection.streams_used > 0:
                for k in range(self.connection_count):
                    if (self.connections[k].state == CONN_CLOSED
                            and self.connections[k].endpoint == connection.endpoint
                            and not self.in_place(k)):
                        self.places[lane] = k
                        self.connections[k].graceful = connection.graceful
                        connection_open(&self.connections[k], now_ns)
                        break
            elif connection.state == CONN_CLOSED:
                if connection.retry_ns <= now_ns:
                    connection_open(connection, now_ns)
                if connection.state == CONN_CLOSED:
                    self.retry_ns = min(self.retry_ns, connection.retry_ns)
        for i in range(self.connection_count):
            connection = &self.connections[i]
            if connection.state == CONN_LEAVING:
                if connection.open_streams == 0:
                    connection_close(connection, now_ns)
                self.broken = True
        for i in range(self.servers):
            ready = 0
            for k in range(self.per_server):
                lane = self.places[i * self.per_server + k]
                ready += self.connections[lane].state == CONN_READY
            store_release_u8(&self.books.page.connected[i], <uint8_t> ready)
        return 0

    cdef bint in_place(self, int index) noexcept nogil:
        cdef int lane
        for lane in range(self.servers * self.per_server):
            if self.places[lane] == index:
                return True
        return False

    cdef int reset(self, int32_t e) noexcept nogil:
        """Give up the stream of a slot."""
        return connection_reset(&self.connections[self.books.entries[e].connection], e)

    cdef int clear(self, int64_t now_ns) noexcept nogil:
        """End the streams whose slots are booked already, so that the next phase starts clean."""
        cdef LedgerState *books = self.books
        cdef int32_t e
        if books.entries_used == 0:
            return 0
        for e in range(books.capacity):
            if books.entries[e].state == ENTRY_EXPIRED:
                self.reset(e)
        self.flush(now_ns)
        for e in range(books.capacity):
            if books.entries[e].state == ENTRY_EXPIRED:
                connection_lose(&self.connections[books.entries[e].connection], now_ns)
        return 0
