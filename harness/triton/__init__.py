"""A real Triton server on this machine: provisioned without a container, started and stopped."""
