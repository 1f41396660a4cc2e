"""A closed loop on tritonclient's ``async_infer``; prints one JSON object.

``python -m benchmarks.suite.tools.tritonclient_loop URL MODEL CONCURRENCY SECONDS``
"""

import json
import sys
import threading
import time
from typing import Any

import numpy as np
import tritonclient.grpc as grpcclient
from tritonclient.utils import triton_to_np_dtype

DRAIN_S = 10.0


def main(url: str, model: str, concurrency: int, seconds: float) -> int:
    """1 if a request failed or was not answered."""
    client = grpcclient.InferenceServerClient(url)
    metadata = client.get_model_metadata(model).inputs
    inputs = []
    for one in metadata:
        shape = [max(1, int(dim)) for dim in one.shape]
        data = np.random.default_rng(1).random(shape).astype(triton_to_np_dtype(one.datatype))
        tensor = grpcclient.InferInput(one.name, shape, one.datatype)
        tensor.set_data_from_numpy(data)
        inputs.append(tensor)
    free = threading.Semaphore(concurrency)
    latencies_ns: list[int] = []
    failures: list[str] = []

    def send() -> None:
        sent_ns = time.monotonic_ns()

        def done(result: Any, error: Any) -> None:
            latencies_ns.append(time.monotonic_ns() - sent_ns)
            if error is not None:
                failures.append(str(error))
            free.release()

        client.async_infer(model, inputs, done)

    start_s = time.monotonic()
    while time.monotonic() - start_s < seconds:
        free.acquire()
        send()
    took_s = time.monotonic() - start_s
    answered = len(latencies_ns)
    unanswered = sum(not free.acquire(timeout=DRAIN_S) for _ in range(concurrency))
    client.close()
    if failures or unanswered or not latencies_ns:
        print(failures[0] if failures else f"{unanswered} requests unanswered", file=sys.stderr)
        return 1
    p50_ns, p99_ns = np.percentile(latencies_ns, [50, 99])
    figures = {
        "rate": answered / took_s,
        "latency_p50_us": p50_ns / 1e3,
        "latency_p99_us": p99_ns / 1e3,
    }
    print(json.dumps({"requests": len(latencies_ns), "figures": figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
