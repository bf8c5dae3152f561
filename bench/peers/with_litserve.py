"""The detector behind LitServe: ``python -m bench.peers.with_litserve``, with its plan in the environment."""

# No `from __future__ import annotations`: LitServe gives the annotation of decode_request to FastAPI as it stands.

from typing import Annotated, Any

import litserve
from fastapi import Body

from bench.peers.detecting import Answer, Detecting
from bench.peers.plan import PATH, Plan


class Api(litserve.LitAPI):
    """The body of a request to its detections; everything runs in the worker."""

    def setup(self, device: str) -> None:
        """Load the network."""
        self.detecting = Detecting(Plan.read())

    def decode_request(self, request: Annotated[bytes, Body(media_type="application/octet-stream")]) -> Any:
        """Return the body as it came."""
        return request

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        """Return bodies as a batch."""
        return inputs

    def predict(self, x: Any) -> Any:
        """Return the detections of a body, or of each of a batch."""
        return self.detecting.several(x) if isinstance(x, list) else self.detecting.one(x)

    def unbatch(self, output: list[Answer]) -> list[Answer]:
        """Return the answers of a batch."""
        return output

    def encode_response(self, output: Answer) -> Any:
        """Return what becomes JSON."""
        return output


def main() -> None:
    """Serve until the process is ended."""
    plan = Plan.read()
    setting = plan.setting
    batching = {"max_batch_size": setting.batch, "batch_timeout": 0.005} if setting.batch > 1 else {}
    server = litserve.LitServer(
        Api(api_path=PATH, **batching),
        accelerator="cpu",
        workers_per_device=setting.workers,
        **setting.options,
    )
    server.run(host="127.0.0.1", port=plan.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
