"""The training: which pictures, in what order, at what learning rate, and what is written down."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from training.augment import Pool, Recipe, make_batch
from training.network import MovingAverage, Trainee, export
from training.pictures import PHOTO_SIZES, SIDE, Kind, Picture, draw_boards, read_deeppcb
from training.score import Precision, detect, precision
from training.yolov9 import YoloV9Elan
from training.yolox import YoloXNano
from triton_yolo.boards import CLASSES
from triton_yolo.boards.dataset import board_seeds

NETWORKS: dict[str, type[Trainee]] = {"yolov9t-elan": YoloV9Elan, "yolox-nano": YoloXNano}
"""What can be trained; the files that it leaves are called pcb-NAME."""

SYNTHETIC: tuple[tuple[Kind, float], ...] = (("scan", 0.3), ("split", 0.2), ("photo", 0.5))
"""What the synthetic boards are, as shares of them."""

SHARES = (0.45, 0.15, 0.15, 0.25)
"""How often a training picture is a DeepPCB scan, or a synthetic board of each kind."""

LEARNING_RATE, LAST_RATE, WEIGHT_DECAY = 2e-3, 0.01, 0.05
"""AdamW's highest learning rate, the share of it that is left at the end, and its weight decay."""

WARM_UP, DECAY, CLIP = 300, 0.998, 10.0
"""Steps until the highest learning rate, decay of the weights' moving average, and longest gradient."""

FIRST = Recipe(mosaic=0.7)
"""What is done to the pictures in most epochs."""

FINISH, FINISH_SHARE = Recipe(mosaic=0.25, single_scale=(0.8, 1.25), exact=0.5, colour=0.2), 0.15
"""What is done in the last ones, where most pictures look as they will be met, and how many those are."""

TRAINING_BOARDS, FRESH_BOARDS = 1_000_000, 2_000_000
"""Seeds of sets of boards that `training.boards` is not asked for by accident; the second is for evaluation alone."""

FRESH, REPORTS = 200, 10
"""Boards of the evaluation, and how often it is made."""


@dataclass(frozen=True)
class Settings:
    """What the command line sets: see there."""

    epochs: int
    boards: int
    batch: int
    seed: int
    workers: int


@dataclass(frozen=True)
class Data:
    """Everything that training looks at, on the GPU.

    Attributes:
        train: DeepPCB scans, then the synthetic boards, kind by kind.
        sizes: how many of each.
        judges: DeepPCB's val split and fresh synthetic boards, which are never learned from.
    """

    train: Pool
    sizes: tuple[int, ...]
    judges: dict[str, Pool]


def gather(deeppcb: Path, settings: Settings, centred: bool, device: torch.device, bar: Progress) -> Data:
    """Read DeepPCB and draw the synthetic boards, letterboxed in the middle or at the top left."""
    scans, held_out = (read_deeppcb(deeppcb, split, centred) for split in ("train", "val"))
    task = bar.add_task("drawing boards", total=settings.boards + FRESH)

    def drawn(kind: Kind, seeds: list[int], sizes: tuple[tuple[int, int], ...] = PHOTO_SIZES) -> list[Picture]:
        return draw_boards(kind, seeds, settings.workers, lambda: bar.advance(task), sizes, centred)

    groups, seeds = [scans], board_seeds(TRAINING_BOARDS + settings.seed, settings.boards)
    for kind, share in SYNTHETIC:
        count = min(math.ceil(share * settings.boards), len(seeds))
        groups.append(drawn(kind, seeds[:count]))
        seeds = seeds[count:]
    fresh, half = board_seeds(FRESH_BOARDS, FRESH), FRESH // 2
    judged = drawn("scan", fresh[:half]) + drawn("photo", fresh[half:], PHOTO_SIZES[:1])
    scan = [k < len(groups) - 1 for k, group in enumerate(groups) for _ in group]
    return Data(
        Pool.of([p for group in groups for p in group], scan, device),
        tuple(len(group) for group in groups),
        {
            "deeppcb_val": Pool.of(held_out, [True] * len(held_out), device),
            "fresh_boards": Pool.of(judged, [k < half for k in range(FRESH)], device),
        },
    )


def choices(sizes: tuple[int, ...], batch: int, random: torch.Generator) -> Tensor:
    """Draw four pictures of one group for each of a batch [B, 4]."""
    device = random.device
    shares = torch.tensor(SHARES, device=device)
    group = torch.multinomial(shares, batch, replacement=True, generator=random)[:, None]
    size = torch.tensor(sizes, device=device)
    start = size.cumsum(0) - size
    return start[group] + (torch.rand(batch, 4, generator=random, device=device) * size[group]).long()


def rate(step: int, steps: int) -> float:
    """Return the learning rate as a share of the highest: a straight rise, then half a cosine."""
    warm = min(WARM_UP, steps // 5)
    if step < warm:
        return (step + 1) / warm
    return LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * (step - warm) / (steps - warm))) / 2


def optimiser(network: nn.Module) -> torch.optim.Optimizer:
    """Return AdamW, with weight decay on the convolutions' weights alone."""
    parameters = list(network.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, fused=True)


def memory_format(trainee: Trainee) -> torch.memory_format:
    """Return how the network's weights and pictures lie in memory."""
    return torch.channels_last if trainee.mixed else torch.contiguous_format


def steps_of(
    trainee: Trainee, network: nn.Module, data: Data, settings: Settings, steps: int
) -> Iterator[tuple[int, MovingAverage, Tensor]]:
    """Train, and yield after each step: its number from 1, the averaged network, and the three parts of the loss."""
    device = data.train.images.device
    random = torch.Generator(device).manual_seed(settings.seed)
    average = MovingAverage(network, DECAY)
    loss = trainee.loss(network, device)
    optimizer = optimiser(network)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, steps))
    bfloat16 = partial(torch.autocast, device.type, torch.bfloat16, trainee.mixed, cache_enabled=False)  # for graphs
    order = memory_format(trainee)
    graphed = network
    if device.type == "cuda":  # launching 3000 kernels takes longer than they do
        sample = torch.zeros((settings.batch, 3, SIDE, SIDE), device=device).contiguous(memory_format=order)
        with bfloat16():
            graphed = torch.cuda.make_graphed_callables(network, (sample,))
    for step in range(1, steps + 1):
        recipe = FINISH if step > steps * (1 - FINISH_SHARE) else FIRST
        images, labels = make_batch(data.train, choices(data.sizes, settings.batch, random), recipe, random)
        with bfloat16():
            answer = graphed(trainee.pixels(images).contiguous(memory_format=order))
        total, parts = loss(answer, labels)
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        average.update()
        yield step, average, parts


def judged(trainee: Trainee, network: nn.Module, data: Data) -> dict[str, Precision]:
    """Return the precision on each set that is never learned from."""
    return {name: precision(detect(trainee, network, pool), pool, CLASSES) for name, pool in data.judges.items()}


def train(name: str, deeppcb: Path, out: Path, settings: Settings, console: Console) -> None:
    """Train one of NETWORKS and write pcb-NAME.onnx and pcb-NAME.json.

    Raises:
        OSError, ValueError: DeepPCB can't be read, or the results can't be written.
    """
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda")
    torch.backends.cudnn.benchmark = True
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        data = gather(deeppcb, settings, NETWORKS[name].centred, device, bar)
        drawn = time.monotonic()
        trainee = NETWORKS[name](CLASSES, settings.seed)
        network = trainee.wrapper.model.to(device, memory_format=memory_format(trainee)).train()
        steps = settings.epochs * max(sum(data.sizes) // settings.batch, 1)
        report_every = max(steps // REPORTS, 1)
        task = bar.add_task("training", total=steps)
        log: list[dict[str, Any]] = []
        for step, average, parts in steps_of(trainee, network, data, settings, steps):
            bar.advance(task)
            if step % report_every and step != steps:
                continue
            figures = judged(trainee, average.network, data)
            minutes = (time.monotonic() - drawn) / 60
            log.append({"epoch": round(step * settings.epochs / steps, 1), "minutes": round(minutes, 2)})
            log[-1] |= {trainee.parts: [round(v, 3) for v in parts.tolist()]}
            log[-1] |= {k: {"map50": round(p.map50, 4), "map50_95": round(p.map50_95, 4)} for k, p in figures.items()}
            console.print(json.dumps(log[-1]), highlight=False, soft_wrap=True)
    model = out / f"pcb-{name}.onnx"
    export(trainee, average.network, model)
    document = {
        "settings": asdict(settings),
        "steps": steps,
        "pictures": dict(zip(("deeppcb", *(kind for kind, _ in SYNTHETIC)), data.sizes, strict=True)),
        "parameters": sum(p.numel() for p in average.network.parameters()),
        "gpu": torch.cuda.get_device_name(),
        "gpu_memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1),
        "minutes": {"drawing": round((drawn - started) / 60, 2), "training": log[-1]["minutes"]},
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in ("torch", "libreyolo", "numpy", "onnx", "pycocotools")},
        "epochs": log,
        "final": {name: p.rounded() for name, p in figures.items()},
    }
    log_file = model.with_suffix(".json")
    scratch = log_file.with_name(f".{log_file.name}")
    scratch.write_text(json.dumps(document, indent=1) + "\n")
    os.replace(scratch, log_file)
    console.print(f"the model and its log are in {out}", soft_wrap=True, highlight=False)
