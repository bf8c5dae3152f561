"""Runs graphs with ONNX Runtime on the CPU, the neutral runtime that others are compared with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Runner:
    """A graph that can be run.

    Attributes:
        model: with one image input.
        batch: the only batch size that it takes, None where it takes any.
        threads: that one run uses, 0 for one on each core.
    """

    model: onnx.ModelProto
    batch: int | None = None
    threads: int = 0

    @cached_property
    def session(self) -> ort.InferenceSession:
        """ONNX Runtime on the CPU, silent."""
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = self.threads
        return ort.InferenceSession(
            self.model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=[
                "WeightBiasQuantization"
            ],  # it divides biases by scales in float16, where they overflow
        )

    def run(self, images: npt.NDArray[Any]) -> Arrays:
        """Run a batch of any size.

        Args:
            images: [N, 3, H, W] of the input's type.

        Returns:
            every output, with the N first; a graph of a fixed batch size runs image by image.
        """
        names = [output.name for output in self.session.get_outputs()]
        [source] = self.session.get_inputs()
        if self.batch is None:
            return dict(zip(names, self.session.run(None, {source.name: images}), strict=True))
        singles = [self.session.run(None, {source.name: np.repeat(i[None], self.batch, 0)}) for i in images]
        return {name: np.concatenate([one[n][:1] for one in singles]) for n, name in enumerate(names)}


def measured_shapes(
    model: onnx.ModelProto, names: Iterable[str], images: npt.NDArray[Any]
) -> dict[str, tuple[int, ...]]:
    """Return the shapes that tensors have in a run, which shape inference cannot always tell.

    Args:
        model: with one image input.
        names: of tensors in it.
        images: to run it on.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    wanted = sorted(set(names))
    for name in wanted:
        copy.graph.node.append(helper.make_node("Shape", [name], [f"{name}/shape"]))
        copy.graph.output.append(helper.make_tensor_value_info(f"{name}/shape", TensorProto.INT64, [None]))
    found = Runner(copy).run(images) if wanted else {}
    return {name: tuple(map(int, found[f"{name}/shape"])) for name in wanted}


def one_line(error: Exception) -> str:
    """Return the message of an error, shortened to one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:200]}..."
