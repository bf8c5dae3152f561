"""The class of the commands: an option never takes the next option for its value."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import typer
from typer.core import TyperCommand


class Command(TyperCommand):
    """A command that refuses ``--draw --json``, where ``--draw`` lacks its value; ``--draw=--json`` still gives it."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # typer's click
        """Parse the arguments.

        Raises:
            typer.BadParameter: an option that needs a value is followed by another option.
        """
        options = [parameter for parameter in self.get_params(ctx) if parameter.param_type_name == "option"]
        valued = {name for option in options if not _is_flag(option) for name in (*option.opts, *option.secondary_opts)}
        words = args[: args.index("--")] if "--" in args else args
        skip = False
        for word, following in pairwise(words):
            if skip:
                skip = False
            elif word in valued:
                if following.startswith("--"):
                    raise typer.BadParameter(f"{word} needs a value, and the option {following} follows it", ctx=ctx)
                skip = True
        return super().parse_args(ctx, args)


def _is_flag(option: Any) -> bool:
    return bool(getattr(option, "is_flag", False) or getattr(option, "count", False))
