"""The detector behind BentoML: ``bentoml serve bench.peers.with_bentoml:Peer``, with its plan in the environment."""

# No `from __future__ import annotations`: BentoML reads the annotations.

import asyncio
from pathlib import Path
from typing import Any

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bench.peers.detecting import Detecting
from bench.peers.plan import PATH, Plan

PLAN = Plan.read()
SETTING = PLAN.setting


async def detect(request: Request) -> JSONResponse:
    """Return the detections of the request's body."""
    detecting = bentoml.get_current_service().detecting
    body = await request.body()
    return JSONResponse(await asyncio.get_running_loop().run_in_executor(detecting.pool, detecting.one, body))


class _Base:
    def __init__(self) -> None:
        self.detecting = Detecting(PLAN)


if SETTING.batch > 1:

    class _Peer(_Base):
        """Takes multipart/form-data: BentoML batches what comes as lists."""

        @bentoml.api(route=PATH, batchable=True, max_batch_size=SETTING.batch, max_latency_ms=60_000)
        def detect(self, images: list[Path]) -> list[dict[str, Any]]:
            """Return the detections of each image."""
            return self.detecting.several([image.read_bytes() for image in images])

elif SETTING.options["input"] == "file":

    class _Peer(_Base):  # type: ignore[no-redef]
        """Takes the body as a file, which BentoML writes for each request."""

        @bentoml.api(route=PATH)
        def detect(self, image: Path, /) -> dict[str, Any]:
            """Return the detections of an image."""
            return self.detecting.one(image.read_bytes())

else:

    @bentoml.asgi_app(Starlette(routes=[Route(PATH, detect, methods=["POST"])]), path="/")
    class _Peer(_Base):  # type: ignore[no-redef]
        """Takes the body in an ASGI application that is mounted into the service."""


Peer = bentoml.service(_Peer, name="peer", workers=SETTING.workers, threads=SETTING.at_once, traffic={"timeout": 60})
