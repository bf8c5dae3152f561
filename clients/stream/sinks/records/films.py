"""Films in H.264, which every browser shows: frames keep their times, so a line that pauses pauses in the film."""

from __future__ import annotations

from fractions import Fraction
from types import TracebackType
from typing import IO

import av
import numpy as np
import numpy.typing as npt
from av.video.stream import VideoStream

Image = npt.NDArray[np.uint8]

CODEC = "libx264"
TICKS = 1000  # of a film's clock in a second
FRAGMENT_SECONDS = 2  # what a film that is cut off by a crash may lack at its end


def can_be_made() -> bool:
    """Return whether this machine's FFmpeg has the encoder."""
    return CODEC in av.codecs_available


class Film:
    """Writes one film."""

    def __init__(self, file: IO[bytes], whole: bool) -> None:
        """Begin.

        Args:
            file: where to; can be sought in.
            whole: whether it is of use only when it is closed; else it can be played up to where it has come.
        """
        options = {} if whole else {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
        self._container = av.open(file, "w", format="mp4", options=options)
        self._stream: VideoStream | None = None
        self._begin, self._last = 0, -1

    def __enter__(self) -> Film:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def add(self, image: Image, captured_ns: int) -> bool:
        """Add a picture, and return whether it was added: one that is older than the last one is left out.

        Args:
            image: uint8 [H, W, 3] BGR; all others become as large as the first.
            captured_ns: time of capture by any clock, in nanoseconds.

        Raises:
            OSError: it cannot be written.
        """
        if self._stream is None:
            self._stream, self._begin = self._new(image), captured_ns
        time = (captured_ns - self._begin) * TICKS // 10**9
        if time <= self._last:
            return False
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "bgr24")
        frame.pts, frame.time_base, self._last = time, Fraction(1, TICKS), time
        self._container.mux(self._stream.encode(frame))
        return True

    def close(self) -> None:
        """Write the end.

        Raises:
            OSError: it cannot be written.
        """
        try:
            if self._stream is not None:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()

    def _new(self, image: Image) -> VideoStream:
        height, width = (side - side % 2 for side in image.shape[:2])
        options = {"preset": "ultrafast", "crf": "26", "tune": "zerolatency"}
        stream = self._container.add_stream(CODEC, rate=30, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = max(2, width), max(2, height), "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS)
        stream.codec_context.thread_count = 1  # beside the line, and never in its way
        stream.codec_context.gop_size = 30
        return stream
