"""Open-loop load generator for NVIDIA Triton, with SLO accounting of every request."""

import sys

if sys.platform != "linux":
    raise ImportError(f"triton-harness runs on Linux only, this is {sys.platform}")

__version__ = "0.1.0"
