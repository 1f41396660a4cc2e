"""Clients that tests ask an embedded server with, and the statuses they get."""

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

VALUES = np.arange(16, dtype=np.float32)


def client(running):
    return triton.InferenceServerClient(running.url)


def tensor(values, name="INPUT0", datatype="FP32"):
    given = triton.InferInput(name, values.shape, datatype)
    given.set_data_from_numpy(values)
    return given


def status_of(call):
    with pytest.raises(InferenceServerException) as error:
        call()
    return error.value.status(), error.value.message()


def stub(running):
    return service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(running.url))


def code_of(call):
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code()
