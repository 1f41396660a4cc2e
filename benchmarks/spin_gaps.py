"""The control beside every timing: what a bare spin loop on the same CPU sees of the machine.

``python -m benchmarks.spin_gaps [CPU] [SECONDS]``
"""

import os
import sys

from harness.machine.spin_gaps import SpinGaps, spin_gaps

__all__ = ["SpinGaps", "spin_gaps"]

if __name__ == "__main__":
    cpu_asked = int(sys.argv[1]) if len(sys.argv) > 1 else max(os.sched_getaffinity(0))
    print(spin_gaps(cpu_asked, float(sys.argv[2]) if len(sys.argv) > 2 else 5.0))
