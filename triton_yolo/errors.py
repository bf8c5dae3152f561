"""What goes wrong for reasons that the user can mend.

    TritonYoloError
    ├── GraphError          an ONNX graph cannot be used
    │   └── ExportError     a network cannot be served as it is
    ├── RepositoryError     a model repository cannot be read
    ├── ServerError         a server does not start, or ended
    ├── CalibrationError    a graph, images or annotations cannot be calibrated with
    ├── AnnotationError     a COCO file cannot be read
    ├── ProofError          a file is no proof of a served graph
    ├── BenchError          a benchmark cannot run
    ├── SourceMissing       there is nothing at a place that was named
    ├── ResultsError        a folder with results cannot be used
    ├── LineError           a line of cameras cannot be read or started
    ├── SourceError         a camera cannot be opened, or was lost
    └── DetectionError      an image got no detections (clients/errors.py has its kinds)

Command lines print the message and end with status 2.
"""

from __future__ import annotations


class TritonYoloError(Exception):
    """The base of all; the message says in one line what is wrong, where, and what to do."""


class GraphError(TritonYoloError):
    """An ONNX graph cannot be used: says what was seen, and what to do."""


class RepositoryError(TritonYoloError):
    """A model repository or one of its files is missing or cannot be read."""
