"""When a server has failed: pure functions of buckets, without a clock or a network."""
