"""Which CPU the servers have, and which the clients."""

from dataclasses import dataclass

from harness.errors import NotStartedError
from harness.host import allowed_cpus


@dataclass(frozen=True)
class Cpus:
    """One CPU each; what measures runs on the server's."""

    server: int
    client: int

    @property
    def both(self) -> tuple[int, int]:
        """For a client whose worker alone has the client's CPU."""
        return self.server, self.client


def split_cpus() -> Cpus:
    """The first allowed CPU for servers, the last for clients. Raises NotStartedError: one CPU."""
    allowed = allowed_cpus()
    if len(allowed) < 2:
        raise NotStartedError("the benchmark needs 2 CPUs, one for the server; 1 is allowed here")
    return Cpus(allowed[0], allowed[-1])
