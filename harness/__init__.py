"""Open-loop load generator for NVIDIA Triton, with SLO accounting of every request."""

__version__ = "0.1.0"
