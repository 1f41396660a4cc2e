"""The embedded server: KServe v2 over gRPC for speed, faults and demonstrations."""
