"""The detector behind Ray Serve: ``python -m bench.peers.with_ray``, with its plan in the environment."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from typing import Any

import ray
from ray import serve
from ray.serve._private import replica
from starlette.requests import Request

from bench.peers.detecting import Answer, Detecting
from bench.peers.plan import PATH, Plan

OBJECT_STORE = 200_000_000  # bytes: bodies of requests do not go through it


def _listen_on_this_machine_alone() -> None:
    """Let replicas listen for their proxy on 127.0.0.1; Ray Serve (2.60) has no setting for it, and listens on all."""
    add_port = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, address: add_port(server, address.replace("[::]", "127.0.0.1"))


_listen_on_this_machine_alone()  # here, since replicas import this module


class Peer:
    """A replica: the body of a request to its detections."""

    def __init__(self) -> None:
        plan = Plan.read()
        self._detecting = Detecting(plan)
        self._batching = plan.setting.batch > 1
        if self._batching:
            self._several.set_max_batch_size(plan.setting.batch)

    async def __call__(self, request: Request) -> Answer:
        """Return what becomes JSON."""
        body = await request.body()
        if self._batching:
            return await self._several(body)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._detecting.pool, self._detecting.one, body)

    @serve.batch(batch_wait_timeout_s=0.005)
    async def _several(self, bodies: list[bytes]) -> list[Answer]:
        return await asyncio.to_thread(self._detecting.several, bodies)


def main() -> None:
    """Serve until the process is ended."""
    plan = Plan.read()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0) if not ray.is_initialized() else _stop())
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        ray.init(
            num_cpus=len(os.sched_getaffinity(0)),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
        )
        serve.start(http_options={"host": "127.0.0.1", "port": plan.port})
        options: dict[str, Any] = {
            "num_replicas": plan.setting.workers,
            "max_ongoing_requests": 16,
            "ray_actor_options": {"num_cpus": 1},
        }
        serve.run(serve.deployment(Peer).options(**options).bind(), route_prefix=PATH)
        signal.pause()


def _stop() -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    from bench.peers import with_ray  # replicas import what is in a module, and get a copy of what is in __main__

    with_ray.main()
