"""Answers INPUT0 as OUTPUT0 after a delay.

The delay is the parameter ``delay_ms`` of config.pbtxt. While the server runs, a file ``delay_ms``
in the model's directory, holding a number, takes its place; without it the parameter is back.
"""

import json
import os
import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.default_s = float(config["parameters"]["delay_ms"]["string_value"]) / 1e3
        self.override = os.path.join(args["model_repository"], "delay_ms")

    def delay_s(self):
        try:
            with open(self.override) as file:
                return max(0.0, float(file.read()) / 1e3)
        except (OSError, ValueError):
            return self.default_s

    def execute(self, requests):
        responses = []
        for request in requests:
            time.sleep(self.delay_s())
            value = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", value)]))
        return responses
