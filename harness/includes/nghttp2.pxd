"""What is used of nghttp2, by the names of before 1.60 (they compile from 1.43 on)."""

from libc.stdint cimport int32_t, uint8_t, uint32_t

# Callbacks and the functions that run them are `noexcept nogil`: errors are int results.

cdef extern from "nghttp2/nghttp2.h" nogil:
    ctypedef struct nghttp2_session:
        pass
    ctypedef struct nghttp2_session_callbacks:
        pass
    ctypedef struct nghttp2_option:
        pass
    ctypedef struct nghttp2_rcbuf:
        pass
    ctypedef struct nghttp2_hd_deflater:
        pass
    ctypedef struct nghttp2_hd_inflater:
        pass

    const char *NGHTTP2_VERSION
    int NGHTTP2_VERSION_NUM
    int NGHTTP2_DEFAULT_WEIGHT
    int NGHTTP2_INITIAL_WINDOW_SIZE
    int NGHTTP2_INITIAL_MAX_CONCURRENT_STREAMS
    int NGHTTP2_MAX_WINDOW_SIZE

    ctypedef struct nghttp2_info:
        int age
        int version_num
        const char *version_str
        const char *proto_str

    nghttp2_info *nghttp2_version(int least_version) noexcept

    # Library errors.
    int NGHTTP2_ERR_INVALID_ARGUMENT
    int NGHTTP2_ERR_BUFFER_ERROR
    int NGHTTP2_ERR_WOULDBLOCK
    int NGHTTP2_ERR_PROTO
    int NGHTTP2_ERR_INVALID_FRAME
    int NGHTTP2_ERR_EOF
    int NGHTTP2_ERR_DEFERRED
    int NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE
    int NGHTTP2_ERR_STREAM_CLOSED
    int NGHTTP2_ERR_STREAM_CLOSING
    int NGHTTP2_ERR_STREAM_SHUT_WR
    int NGHTTP2_ERR_INVALID_STREAM_ID
    int NGHTTP2_ERR_INVALID_STREAM_STATE
    int NGHTTP2_ERR_DEFERRED_DATA_EXIST
    int NGHTTP2_ERR_START_STREAM_NOT_ALLOWED
    int NGHTTP2_ERR_GOAWAY_ALREADY_SENT
    int NGHTTP2_ERR_INVALID_HEADER_BLOCK
    int NGHTTP2_ERR_INVALID_STATE
    int NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    int NGHTTP2_ERR_FRAME_SIZE_ERROR
    int NGHTTP2_ERR_HEADER_COMP
    int NGHTTP2_ERR_FLOW_CONTROL
    int NGHTTP2_ERR_INSUFF_BUFSIZE
    int NGHTTP2_ERR_PAUSE
    int NGHTTP2_ERR_DATA_EXIST
    int NGHTTP2_ERR_SESSION_CLOSING
    int NGHTTP2_ERR_HTTP_HEADER
    int NGHTTP2_ERR_HTTP_MESSAGING
    int NGHTTP2_ERR_REFUSED_STREAM
    int NGHTTP2_ERR_INTERNAL
    int NGHTTP2_ERR_CANCEL
    int NGHTTP2_ERR_SETTINGS_EXPECTED
    int NGHTTP2_ERR_FATAL
    int NGHTTP2_ERR_NOMEM
    int NGHTTP2_ERR_CALLBACK_FAILURE
    int NGHTTP2_ERR_BAD_CLIENT_MAGIC
    int NGHTTP2_ERR_FLOODED

    const char *nghttp2_strerror(int lib_error_code) noexcept
    const char *nghttp2_http2_strerror(uint32_t error_code) noexcept
    int nghttp2_is_fatal(int lib_error_code) noexcept

    # HTTP/2 error codes (RST_STREAM, GOAWAY).
    int NGHTTP2_NO_ERROR
    int NGHTTP2_PROTOCOL_ERROR
    int NGHTTP2_INTERNAL_ERROR
    int NGHTTP2_FLOW_CONTROL_ERROR
    int NGHTTP2_SETTINGS_TIMEOUT
    int NGHTTP2_STREAM_CLOSED
    int NGHTTP2_FRAME_SIZE_ERROR
    int NGHTTP2_REFUSED_STREAM
    int NGHTTP2_CANCEL
    int NGHTTP2_COMPRESSION_ERROR
    int NGHTTP2_CONNECT_ERROR
    int NGHTTP2_ENHANCE_YOUR_CALM
    int NGHTTP2_INADEQUATE_SECURITY
    int NGHTTP2_HTTP_1_1_REQUIRED

    # Frame types, flags and header categories.
    int NGHTTP2_DATA
    int NGHTTP2_HEADERS
    int NGHTTP2_PRIORITY
    int NGHTTP2_RST_STREAM
    int NGHTTP2_SETTINGS
    int NGHTTP2_PUSH_PROMISE
    int NGHTTP2_PING
    int NGHTTP2_GOAWAY
    int NGHTTP2_WINDOW_UPDATE
    int NGHTTP2_CONTINUATION
    int NGHTTP2_FLAG_NONE
    int NGHTTP2_FLAG_END_STREAM
    int NGHTTP2_FLAG_END_HEADERS
    int NGHTTP2_FLAG_ACK
    int NGHTTP2_FLAG_PADDED
    int NGHTTP2_FLAG_PRIORITY
    int NGHTTP2_HCAT_REQUEST
    int NGHTTP2_HCAT_RESPONSE
    int NGHTTP2_HCAT_PUSH_RESPONSE
    int NGHTTP2_HCAT_HEADERS

    # SETTINGS ids; the type is that of nghttp2_session_get_remote_settings.
    ctypedef enum nghttp2_settings_id:
        NGHTTP2_SETTINGS_HEADER_TABLE_SIZE
        NGHTTP2_SETTINGS_ENABLE_PUSH
        NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
        NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
        NGHTTP2_SETTINGS_MAX_FRAME_SIZE
        NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE

    ctypedef struct nghttp2_settings_entry:
        int32_t settings_id
        uint32_t value

    # Header fields.
    int NGHTTP2_NV_FLAG_NONE
    int NGHTTP2_NV_FLAG_NO_INDEX
    int NGHTTP2_NV_FLAG_NO_COPY_NAME
    int NGHTTP2_NV_FLAG_NO_COPY_VALUE

    ctypedef struct nghttp2_nv:
        uint8_t *name
        uint8_t *value
        size_t namelen
        size_t valuelen
        uint8_t flags

    ctypedef struct nghttp2_vec:
        uint8_t *base
        size_t len

    # Frames.
    ctypedef struct nghttp2_frame_hd:
        size_t length
        int32_t stream_id
        uint8_t type
        uint8_t flags
        uint8_t reserved

    ctypedef struct nghttp2_priority_spec:
        int32_t stream_id
        int32_t weight
        uint8_t exclusive

    ctypedef struct nghttp2_data:
        nghttp2_frame_hd hd
        size_t padlen

    ctypedef struct nghttp2_headers:
        nghttp2_frame_hd hd
        size_t padlen
        nghttp2_priority_spec pri_spec
        nghttp2_nv *nva
        size_t nvlen
        int cat

    ctypedef struct nghttp2_rst_stream:
        nghttp2_frame_hd hd
        uint32_t error_code

    ctypedef struct nghttp2_settings:
        nghttp2_frame_hd hd
        size_t niv
        nghttp2_settings_entry *iv

    ctypedef struct nghttp2_ping:
        nghttp2_frame_hd hd
        uint8_t opaque_data[8]

    ctypedef struct nghttp2_goaway:
        nghttp2_frame_hd hd
        int32_t last_stream_id
        uint32_t error_code
        uint8_t *opaque_data
        size_t opaque_data_len

    ctypedef struct nghttp2_window_update:
        nghttp2_frame_hd hd
        int32_t window_size_increment

    ctypedef union nghttp2_frame:
        nghttp2_frame_hd hd
        nghttp2_data data
        nghttp2_headers headers
        nghttp2_rst_stream rst_stream
        nghttp2_settings settings
        nghttp2_ping ping
        nghttp2_goaway goaway
        nghttp2_window_update window_update

    # Bodies.
    int NGHTTP2_DATA_FLAG_NONE
    int NGHTTP2_DATA_FLAG_EOF
    int NGHTTP2_DATA_FLAG_NO_END_STREAM
    int NGHTTP2_DATA_FLAG_NO_COPY

    ctypedef union nghttp2_data_source:
        int fd
        void *ptr

    ctypedef ssize_t (*nghttp2_data_source_read_callback)(
        nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length,
        uint32_t *data_flags, nghttp2_data_source *source, void *user_data) noexcept nogil

    ctypedef struct nghttp2_data_provider:
        nghttp2_data_source source
        nghttp2_data_source_read_callback read_callback

    # Callbacks.
    ctypedef int (*nghttp2_send_data_callback)(
        nghttp2_session *session, nghttp2_frame *frame, const uint8_t *framehd,
        size_t length, nghttp2_data_source *source, void *user_data) noexcept nogil
    ctypedef int (*nghttp2_on_frame_recv_callback)(
        nghttp2_session *session, const nghttp2_frame *frame, void *user_data) noexcept nogil
    ctypedef int (*nghttp2_on_invalid_frame_recv_callback)(
        nghttp2_session *session, const nghttp2_frame *frame, int lib_error_code,
        void *user_data) noexcept nogil
    ctypedef int (*nghttp2_on_data_chunk_recv_callback)(
        nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
        size_t len, void *user_data) noexcept nogil
    ctypedef int (*nghttp2_on_frame_send_callback)(
        nghttp2_session *session, const nghttp2_frame *frame, void *user_data) noexcept nogil
    ctypedef int (*nghttp2_on_frame_not_send_callback)(
        nghttp2_session *session, const nghttp2_frame *frame, int lib_error_code,
        void *user_data) noexcept nogil
    ctypedef int (*nghttp2_on_stream_close_callback)(
        nghttp2_session *session, int32_t stream_id, uint32_t error_code,
        void *user_data) noexcept nogil
    ctypedef int (*nghttp2_on_begin_headers_callback)(
        nghttp2_session *session, const nghttp2_frame *frame, void *user_data) noexcept nogil
    ctypedef int (*nghttp2_on_begin_frame_callback)(
        nghttp2_session *session, const nghttp2_frame_hd *hd, void *user_data) noexcept nogil
    ctypedef int (*nghttp2_on_header_callback)(
        nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
        size_t namelen, const uint8_t *value, size_t valuelen, uint8_t flags,
        void *user_data) noexcept nogil
    ctypedef int (*nghttp2_on_header_callback2)(
        nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
        nghttp2_rcbuf *value, uint8_t flags, void *user_data) noexcept nogil
    ctypedef int (*nghttp2_error_callback2)(
        nghttp2_session *session, int lib_error_code, const char *msg, size_t len,
        void *user_data) noexcept nogil
    ctypedef ssize_t (*nghttp2_data_source_read_length_callback)(
        nghttp2_session *session, uint8_t frame_type, int32_t stream_id,
        int32_t session_remote_window_size, int32_t stream_remote_window_size,
        uint32_t remote_max_frame_size, void *user_data) noexcept nogil

    int nghttp2_session_callbacks_new(nghttp2_session_callbacks **callbacks_ptr) noexcept
    void nghttp2_session_callbacks_del(nghttp2_session_callbacks *callbacks) noexcept
    void nghttp2_session_callbacks_set_send_data_callback(
        nghttp2_session_callbacks *cbs, nghttp2_send_data_callback cb) noexcept
    void nghttp2_session_callbacks_set_on_frame_recv_callback(
        nghttp2_session_callbacks *cbs, nghttp2_on_frame_recv_callback cb) noexcept
    void nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(
        nghttp2_session_callbacks *cbs, nghttp2_on_invalid_frame_recv_callback cb) noexcept
    void nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        nghttp2_session_callbacks *cbs, nghttp2_on_data_chunk_recv_callback cb) noexcept
    void nghttp2_session_callbacks_set_on_frame_send_callback(
        nghttp2_session_callbacks *cbs, nghttp2_on_frame_send_callback cb) noexcept
    void nghttp2_session_callbacks_set_on_frame_not_send_callback(
        nghttp2_session_callbacks *cbs, nghttp2_on_frame_not_send_callback cb) noexcept
    void nghttp2_session_callbacks_set_on_stream_close_callback(
        nghttp2_session_callbacks *cbs, nghttp2_on_stream_close_callback cb) noexcept
    void nghttp2_session_callbacks_set_on_begin_headers_callback(
        nghttp2_session_callbacks *cbs, nghttp2_on_begin_headers_callback cb) noexcept
    void nghttp2_session_callbacks_set_on_begin_frame_callback(
        nghttp2_session_callbacks *cbs, nghttp2_on_begin_frame_callback cb) noexcept
    void nghttp2_session_callbacks_set_on_header_callback(
        nghttp2_session_callbacks *cbs, nghttp2_on_header_callback cb) noexcept
    void nghttp2_session_callbacks_set_on_header_callback2(
        nghttp2_session_callbacks *cbs, nghttp2_on_header_callback2 cb) noexcept
    void nghttp2_session_callbacks_set_error_callback2(
        nghttp2_session_callbacks *cbs, nghttp2_error_callback2 cb) noexcept
    void nghttp2_session_callbacks_set_data_source_read_length_callback(
        nghttp2_session_callbacks *cbs, nghttp2_data_source_read_length_callback cb) noexcept

    nghttp2_vec nghttp2_rcbuf_get_buf(nghttp2_rcbuf *rcbuf) noexcept

    # Allocator.
    ctypedef void *(*nghttp2_malloc)(size_t size, void *mem_user_data) noexcept nogil
    ctypedef void (*nghttp2_free)(void *ptr, void *mem_user_data) noexcept nogil
    ctypedef void *(*nghttp2_calloc)(size_t nmemb, size_t size, void *mem_user_data) noexcept nogil
    ctypedef void *(*nghttp2_realloc)(void *ptr, size_t size, void *mem_user_data) noexcept nogil

    ctypedef struct nghttp2_mem:
        void *mem_user_data
        nghttp2_malloc malloc
        nghttp2_free free
        nghttp2_calloc calloc
        nghttp2_realloc realloc

    # Options.
    int nghttp2_option_new(nghttp2_option **option_ptr) noexcept
    void nghttp2_option_del(nghttp2_option *option) noexcept
    void nghttp2_option_set_no_auto_window_update(nghttp2_option *option, int val) noexcept
    void nghttp2_option_set_peer_max_concurrent_streams(
        nghttp2_option *option, uint32_t val) noexcept
    void nghttp2_option_set_no_http_messaging(nghttp2_option *option, int val) noexcept
    void nghttp2_option_set_no_auto_ping_ack(nghttp2_option *option, int val) noexcept
    void nghttp2_option_set_no_recv_client_magic(nghttp2_option *option, int val) noexcept
    void nghttp2_option_set_max_send_header_block_length(
        nghttp2_option *option, size_t val) noexcept
    void nghttp2_option_set_max_deflate_dynamic_table_size(
        nghttp2_option *option, size_t val) noexcept
    void nghttp2_option_set_no_closed_streams(nghttp2_option *option, int val) noexcept
    void nghttp2_option_set_max_outbound_ack(nghttp2_option *option, size_t val) noexcept
    void nghttp2_option_set_max_settings(nghttp2_option *option, size_t val) noexcept

    # Sessions.
    int nghttp2_session_client_new2(
        nghttp2_session **session_ptr, const nghttp2_session_callbacks *callbacks,
        void *user_data, const nghttp2_option *option) noexcept
    int nghttp2_session_client_new3(
        nghttp2_session **session_ptr, const nghttp2_session_callbacks *callbacks,
        void *user_data, const nghttp2_option *option, nghttp2_mem *mem) noexcept
    int nghttp2_session_server_new2(
        nghttp2_session **session_ptr, const nghttp2_session_callbacks *callbacks,
        void *user_data, const nghttp2_option *option) noexcept
    int nghttp2_session_server_new3(
        nghttp2_session **session_ptr, const nghttp2_session_callbacks *callbacks,
        void *user_data, const nghttp2_option *option, nghttp2_mem *mem) noexcept
    void nghttp2_session_del(nghttp2_session *session) noexcept

    ssize_t nghttp2_session_mem_send(
        nghttp2_session *session, const uint8_t **data_ptr) noexcept
    ssize_t nghttp2_session_mem_recv(
        nghttp2_session *session, const uint8_t *data, size_t len) noexcept
    int nghttp2_session_resume_data(nghttp2_session *session, int32_t stream_id) noexcept
    int nghttp2_session_want_read(nghttp2_session *session) noexcept
    int nghttp2_session_want_write(nghttp2_session *session) noexcept

    void *nghttp2_session_get_stream_user_data(
        nghttp2_session *session, int32_t stream_id) noexcept
    int nghttp2_session_set_stream_user_data(
        nghttp2_session *session, int32_t stream_id, void *stream_user_data) noexcept
    void nghttp2_session_set_user_data(nghttp2_session *session, void *user_data) noexcept

    size_t nghttp2_session_get_outbound_queue_size(nghttp2_session *session) noexcept
    int32_t nghttp2_session_get_effective_recv_data_length(nghttp2_session *session) noexcept
    int32_t nghttp2_session_get_effective_local_window_size(nghttp2_session *session) noexcept
    int32_t nghttp2_session_get_local_window_size(nghttp2_session *session) noexcept
    int32_t nghttp2_session_get_stream_local_window_size(
        nghttp2_session *session, int32_t stream_id) noexcept
    int32_t nghttp2_session_get_remote_window_size(nghttp2_session *session) noexcept
    int32_t nghttp2_session_get_stream_remote_window_size(
        nghttp2_session *session, int32_t stream_id) noexcept
    int nghttp2_session_get_stream_local_close(
        nghttp2_session *session, int32_t stream_id) noexcept
    int nghttp2_session_get_stream_remote_close(
        nghttp2_session *session, int32_t stream_id) noexcept
    int nghttp2_session_set_local_window_size(
        nghttp2_session *session, uint8_t flags, int32_t stream_id,
        int32_t window_size) noexcept
    int nghttp2_session_consume(
        nghttp2_session *session, int32_t stream_id, size_t size) noexcept
    int nghttp2_session_consume_connection(nghttp2_session *session, size_t size) noexcept
    int nghttp2_session_consume_stream(
        nghttp2_session *session, int32_t stream_id, size_t size) noexcept
    uint32_t nghttp2_session_get_remote_settings(
        nghttp2_session *session, nghttp2_settings_id id) noexcept
    uint32_t nghttp2_session_get_local_settings(
        nghttp2_session *session, nghttp2_settings_id id) noexcept
    uint32_t nghttp2_session_get_next_stream_id(nghttp2_session *session) noexcept
    int nghttp2_session_set_next_stream_id(
        nghttp2_session *session, int32_t next_stream_id) noexcept
    int32_t nghttp2_session_get_last_proc_stream_id(nghttp2_session *session) noexcept
    int nghttp2_session_check_request_allowed(nghttp2_session *session) noexcept
    int nghttp2_session_terminate_session(
        nghttp2_session *session, uint32_t error_code) noexcept
    int nghttp2_session_terminate_session2(
        nghttp2_session *session, int32_t last_stream_id, uint32_t error_code) noexcept

    # Frames to send.
    int32_t nghttp2_submit_request(
        nghttp2_session *session, const nghttp2_priority_spec *pri_spec, const nghttp2_nv *nva,
        size_t nvlen, const nghttp2_data_provider *data_prd, void *stream_user_data) noexcept
    int nghttp2_submit_response(
        nghttp2_session *session, int32_t stream_id, const nghttp2_nv *nva, size_t nvlen,
        const nghttp2_data_provider *data_prd) noexcept
    int nghttp2_submit_trailer(
        nghttp2_session *session, int32_t stream_id, const nghttp2_nv *nva,
        size_t nvlen) noexcept
    int32_t nghttp2_submit_headers(
        nghttp2_session *session, uint8_t flags, int32_t stream_id,
        const nghttp2_priority_spec *pri_spec, const nghttp2_nv *nva, size_t nvlen,
        void *stream_user_data) noexcept
    int nghttp2_submit_data(
        nghttp2_session *session, uint8_t flags, int32_t stream_id,
        const nghttp2_data_provider *data_prd) noexcept
    int nghttp2_submit_rst_stream(
        nghttp2_session *session, uint8_t flags, int32_t stream_id,
        uint32_t error_code) noexcept
    int nghttp2_submit_settings(
        nghttp2_session *session, uint8_t flags, const nghttp2_settings_entry *iv,
        size_t niv) noexcept
    int nghttp2_submit_ping(
        nghttp2_session *session, uint8_t flags, const uint8_t *opaque_data) noexcept
    int nghttp2_submit_goaway(
        nghttp2_session *session, uint8_t flags, int32_t last_stream_id, uint32_t error_code,
        const uint8_t *opaque_data, size_t opaque_data_len) noexcept
    int nghttp2_submit_shutdown_notice(nghttp2_session *session) noexcept
    int nghttp2_submit_window_update(
        nghttp2_session *session, uint8_t flags, int32_t stream_id,
        int32_t window_size_increment) noexcept

    # HPACK alone, to encode a header block once.
    int nghttp2_hd_deflate_new(
        nghttp2_hd_deflater **deflater_ptr, size_t max_deflate_dynamic_table_size) noexcept
    void nghttp2_hd_deflate_del(nghttp2_hd_deflater *deflater) noexcept
    ssize_t nghttp2_hd_deflate_hd(
        nghttp2_hd_deflater *deflater, uint8_t *buf, size_t buflen, const nghttp2_nv *nva,
        size_t nvlen) noexcept
    size_t nghttp2_hd_deflate_bound(
        nghttp2_hd_deflater *deflater, const nghttp2_nv *nva, size_t nvlen) noexcept
