"""Writes graphs in ONNX's textual syntax, step by step."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class GraphText:
    """A graph in ONNX's textual syntax (https://github.com/onnx/onnx/blob/main/docs/Syntax.md), as it grows.

    Attributes:
        signature: the graph's name, inputs and outputs.
        constants: their declarations.
        steps: one node each.
    """

    signature: str = ""
    constants: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    def constant(self, name: str, values: list[int] | list[float], shape: str | None = None) -> None:
        """Add a constant.

        Args:
            name: of the tensor.
            values: integers make an int64, floats a float32 tensor.
            shape: as in "[1, 3]", or "" for a scalar; None for one dimension.
        """
        kind = "float" if isinstance(values[0], float) else "int64"
        dims = f"[{len(values)}]" if shape is None else shape
        self.constants.append(f"{kind}{dims} {name} = {{{', '.join(map(repr, values))}}}")

    def add(self, *steps: str) -> None:
        """Add nodes, as in "c = Add (a, b)"."""
        self.steps += steps

    def __str__(self) -> str:
        constants = f"<{', '.join(self.constants)}>" if self.constants else ""
        return "\n".join([self.signature, constants, "{", *self.steps, "}"])
