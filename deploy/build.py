"""Command line: python -m deploy.build."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import numpy as np
import PIL.Image
import typer
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from deploy.configurations import Sample, files, served
from deploy.pipelines import SERIALISED, serialise
from triton_yolo.cli.exits import INTERRUPTED, leave
from triton_yolo.clients.memory.cuda import device_uuid
from triton_yolo.contract import GRAPH_FILE, GRAPH_HINT
from triton_yolo.dali_definition import DEFINITION, read_by
from triton_yolo.errors import TritonYoloError
from triton_yolo.export import plan
from triton_yolo.export.served_proof import proof_of
from triton_yolo.export.tensorrt import gpu
from triton_yolo.files import write_together
from triton_yolo.repository import DEFAULT_REPOSITORY, read_config
from triton_yolo.server.errors import ServerError

COMMAND = "python -m deploy.build"
BOARD = Path(__file__).parent / "board.jpg"  # 1280x960, of the synthetic boards
PLAN = "model.plan"
BUILT = (SERIALISED, f"{SERIALISED}.json", PLAN, f"{PLAN}.json", f"{PLAN}.timing")
NOT_SERVED = (*BUILT, GRAPH_FILE, proof_of(Path(GRAPH_FILE)).name)  # nor a definition and what it reads
BEST_BATCH = 8  # the cameras of the reference case


def main(
    models: Annotated[Path, typer.Argument(metavar="MODELS", file_okay=False, help="Folder that Triton will serve.")],
    repository: Annotated[
        Path, typer.Option(file_okay=False, help="Model repository to make it of.")
    ] = DEFAULT_REPOSITORY,
    runtime: Annotated[plan.RuntimeName, typer.Option(help="What builds the plan, and will run it.")] = plan.USUAL,
    compute_capability: Annotated[
        str | None, typer.Option(help="As in 8.9: build for a GPU that is not here; TensorRT for RTX alone can.")
    ] = None,
) -> None:
    """Make the folder that a Triton container serves out of a model repository, which stays as it is.

    Serialises the DALI pipelines, adds warm-up to the configurations, and builds the network's plan for the GPU at
    hand. Pipelines and plans that are there and fit are kept, so that a second run takes seconds. Exit code 2:
    something could not be built; what was there stays.
    """
    try:
        configs = _configurations(repository)
        _check_target(models)
        sample = read_sample()
        uuid = device_uuid(0) if gpu() else None
        for name, config in configs.items():
            _copy(repository / name, models / name, config, sample, uuid)
        for stale in sorted(path.parent for path in models.glob("*/config.pbtxt")):
            if stale.name not in configs:
                shutil.rmtree(stale)
                typer.echo(f"{stale} is gone: the repository has no such model")
        for name, config in configs.items():
            if config.backend == "dali":
                target = models / name / "1" / SERIALISED
                fresh = serialise(repository / name / "1" / DEFINITION, target, config.max_batch_size)
                typer.echo(f"{target}: {'serialised' if fresh else 'is there and fits'}")
    except TritonYoloError as error:
        leave(COMMAND, str(error))
    except OSError as error:
        leave(COMMAND, f"cannot use {error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        leave(COMMAND, "interrupted; what was there stays", INTERRUPTED)
    for name, config in configs.items():
        if config.platform == "tensorrt_plan":
            largest = config.max_batch_size
            plan.main(
                graph=repository / name / "1" / GRAPH_FILE,
                out=models / name / "1" / PLAN,
                runtime=runtime,
                best_batch=min(BEST_BATCH, largest),
                max_batch=largest,
                compute_capability=compute_capability,
            )
    typer.echo(f"{models} is ready: {', '.join(configs)}")


def _configurations(repository: Path) -> dict[str, ModelConfig]:
    """Return the models of a repository, all of whose files are there."""
    paths = sorted(repository.glob("*/config.pbtxt"))
    if not paths:
        raise ServerError(f"{repository} is not a model repository: none of its folders holds a config.pbtxt")
    configs = {path.parent.name: read_config(path) for path in paths}
    for name, config in configs.items():
        if config.platform == "tensorrt_plan" and not (repository / name / "1" / GRAPH_FILE).is_file():
            raise ServerError(f"{repository / name / '1' / GRAPH_FILE} is missing: {GRAPH_HINT}")
        if config.backend == "dali" and not (repository / name / "1" / DEFINITION).is_file():
            raise ServerError(f"{repository / name / '1' / DEFINITION} is missing: it defines the pipeline")
    return configs


def _check_target(models: Path) -> None:
    """Refuse to turn a model repository into what is made of it: its graph and definitions would be gone."""
    for name in (GRAPH_FILE, DEFINITION):
        for found in models.glob(f"*/1/{name}"):
            raise ServerError(f"{models} is a model repository itself (it has {found}): give another folder")


def read_sample() -> Sample:
    """Return the board that models are warmed up with, encoded and as pixels."""
    jpeg = BOARD.read_bytes()
    with PIL.Image.open(BOARD) as image:
        pixels = np.asarray(image.convert("RGB"))
    return Sample(jpeg, pixels.tobytes(), pixels.shape[0], pixels.shape[1])


def _copy(source: Path, target: Path, config: ModelConfig, sample: Sample, uuid: str | None) -> None:
    """Write a model's configuration, code and warm-up; the graph is not served, and what is built comes later."""
    changed = served(config, sample, uuid)
    plain = (source / "config.pbtxt").read_bytes()
    text = plain if changed == config else text_format.MessageToString(changed, as_utf8=True).encode()
    written = {target / "config.pbtxt": text}
    definition = source / "1" / DEFINITION
    left = {definition, *read_by(definition)} if config.backend == "dali" else set()
    for path in sorted((source / "1").glob("*")):
        if path.is_file() and path.name not in NOT_SERVED and path not in left:
            written[target / "1" / path.name] = path.read_bytes()
    for name, content in files(changed, sample).items():
        written[target / "warmup" / name] = content
    write_together(written)
    (target / "1").mkdir(exist_ok=True)  # Triton wants a version folder, even of an ensemble
    for path in (target / "1").iterdir():
        if path.is_file() and path not in written and path.name not in BUILT:
            path.unlink()


if __name__ == "__main__":
    typer.run(main)
