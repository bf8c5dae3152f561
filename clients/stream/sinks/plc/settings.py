"""What a line's file says to whatever speaks to a PLC."""

from __future__ import annotations

from pydantic import Field

from triton_yolo.clients.stream.strict import Strict


class PlcSettings(Strict):
    """What all that speak to a PLC have in common.

    Attributes:
        stale_after_s: seconds from capture after which a result counts no more; .inf for cameras that are triggered.
        handshake: give results on request, which stay until they are acknowledged.
        answer_within_s: seconds after which a request is answered without the cameras that have not.
    """

    stale_after_s: float = Field(default=2.0, gt=0, allow_inf_nan=True)
    handshake: bool = False
    answer_within_s: float = Field(default=5.0, gt=0, le=3600)
