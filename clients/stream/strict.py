"""The base of what a line's file holds."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

NAME = r"^[A-Za-z0-9][\w.-]{0,63}$"


class Strict(BaseModel):
    """A part of a line's file: a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
