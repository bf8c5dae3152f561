"""Detect on a folder of images with Ray Data, as docs/clients.md shows it: URL FOLDER OUT ACTORS STATE."""

from __future__ import annotations

import sys

import ray

from triton_yolo.clients.bulk.ray_actor import Detect

if __name__ == "__main__":
    url, folder, out, actors, state = sys.argv[1:]
    ray.init(
        address="local",
        num_cpus=int(actors) + 2,
        include_dashboard=False,
        object_store_memory=200_000_000,
        _node_ip_address="127.0.0.1",
        _temp_dir=state,
    )
    images = ray.data.read_binary_files(folder, include_paths=True, override_num_blocks=24)
    found = images.map_batches(
        Detect,
        fn_constructor_kwargs={"url": url, "concurrency": 2, "patience": 60.0},
        batch_size=8,
        batch_format="pyarrow",
        concurrency=int(actors),
    )
    found.write_parquet(out)
    ray.shutdown()
