"""``harness demo``: a server fails under load, and what the run makes of it."""

import contextlib
import sys

FAILING_SCRIPT = "3s: hang"


def demo() -> int:
    """Load two embedded servers for 10 s; the first hangs at second 3."""
    from harness.cli.configured import DEFAULT_MODEL
    from harness.cli.options import make_config
    from harness.cli.run import print_out, run_bench
    from harness.config import NS_PER_S
    from harness.embedded.server import EmbeddedServer, ServeConfig
    from harness.host import allowed_cpus
    from harness.load.signals import interrupts
    from harness.slo import parse_slo

    # The workers take the last CPUs.
    cpu = allowed_cpus()[0]
    with contextlib.ExitStack() as stack:
        stack.enter_context(interrupts())
        failing, good = (
            stack.enter_context(EmbeddedServer(ServeConfig(cpu=cpu, script=script))).url
            for script in (FAILING_SCRIPT, "")
        )
        config = make_config(
            {
                "model": DEFAULT_MODEL,
                "urls": (failing, good),
                "dist": "poisson",
                "rate": 1000.0,
                "duration_ns": 10 * NS_PER_S,
                "slo": parse_slo("50ms"),
                "request_timeout_ns": 2 * NS_PER_S,
                "allow_invalid": True,  # a busy machine is no reason for a demonstration to fail
            }
        )
        print_out(
            f"harness serve --port {_port(failing)} --cpu {cpu} --script '{FAILING_SCRIPT}' &\n"
            f"harness serve --port {_port(good)} --cpu {cpu} &\n"
            f"harness bench -m {DEFAULT_MODEL} -u {failing} -u {good} \\\n"
            "    --dist poisson --rate 1000 --duration 10s --slo 50ms --timeout 2s \\\n"
            "    --allow-invalid\n\n"
        )
        return run_bench(config, sys.argv)


def _port(url: str) -> str:
    return url.rpartition(":")[2]
