"""One HTTP/2 connection to one server, and the gRPC requests in flight on it; used from C only."""
