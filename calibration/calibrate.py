"""The steps of a calibration: pictures, ranges, sensitivity, search, and the INT8 graph."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from triton_yolo.calibration.errors import CalibrationError
from triton_yolo.calibration.layers import Convolution, convolutions, read_float_graph
from triton_yolo.calibration.measure import Evaluator, noise_to_signal, sure_boxes
from triton_yolo.calibration.measurements import MEANING, Measurements
from triton_yolo.calibration.options import AUTO, METHODS, CalibrationOptions
from triton_yolo.calibration.output_graph import output_graph
from triton_yolo.calibration.pictures import Pictures, annotated, find_pictures, read_pictures
from triton_yolo.calibration.quantise import quantised
from triton_yolo.calibration.ranges import Ranges, collect, ranges_path, read_ranges, sha256_of
from triton_yolo.calibration.runtimes import RUNTIMES, Run, Runtime, onnxruntime_engine, openvino_engine, proved_runtime
from triton_yolo.calibration.search import Search
from triton_yolo.calibration.sensitivity import sensitivity
from triton_yolo.calibration.steps import said
from triton_yolo.calibration.summary import CalibrationSummary, MethodResult, Stopwatch, versions
from triton_yolo.cli.progress import working
from triton_yolo.clients.coco import AnnotationError, Result, read_annotations, unknown_names
from triton_yolo.export.errors import ExportError
from triton_yolo.export.proof_maker import make_proof
from triton_yolo.export.served_model import served_model_of
from triton_yolo.export.served_proof import ServedProof, proof_of
from triton_yolo.files import write_together
from triton_yolo.nms.served_model import ServedModel
from triton_yolo.repository import repository_of

PROOF_CANDIDATES = 8  # pictures that those of a proof are chosen from


@dataclass(frozen=True)
class Calibrated:
    """An INT8 graph, its proof, and its report, ready for JSON."""

    graph: onnx.ModelProto
    proof: ServedProof
    document: dict[str, Any]

    def write(self, path: Path) -> None:
        """Write the graph, and its proof beside it, both or neither.

        Raises:
            OSError: one cannot be written.
        """
        content = self.graph.SerializeToString(deterministic=True)
        write_together({path: content, proof_of(path): self.proof.to_bytes()})


def calibrate(path: Path, folder: Path, annotations: Path | None, options: CalibrationOptions) -> Calibrated:
    """Find the INT8 graph with the fewest MACs in float that loses no more precision than is allowed.

    Args:
        path: of a served float graph.
        folder: of images.
        annotations: of the images, in COCO's format; None to take the float graph's own detections.
        options: of the calibration.

    Raises:
        AnnotationError, CalibrationError, GraphError, RepositoryError: a file cannot be used, or no graph is good
            enough.
        OSError: what was measured cannot be written.
    """
    model = read_float_graph(path)
    layers, served = convolutions(model), served_model_of(model, path, options.labels, options.letterbox)
    if not served.labels:
        raise CalibrationError(
            f"{path} has no class names, and neither has its repository: give them with --labels FILE"
        )
    name, clock = (repository_of(path) or path).stem, Stopwatch()
    whole = cache(lambda: openvino_engine(model))
    pictures, evaluator, kept = _material(model, folder, annotations, served, whole, name, options)
    few = evaluator.narrowed(options.sensitivity_images)
    with clock.timed("ranges"):
        ranges = _ranges(model, layers, pictures, name, options)
    values = {method: found.values for method, found in ranges.items()}
    with clock.timed("float graph"):
        before = kept.result("float graph", lambda: evaluator.precision(whole(), said("float graph")))
    if not before.overall.ap50_95 > 0:
        raise CalibrationError(
            "the float graph finds nothing of what is annotated, so INT8 has nothing to lose: check that the "
            "annotations belong to these images, and that the labels are in the network's order"
        )
    with clock.timed("runtime"), working(said("runtime")):
        runtime = _runtime(model, next(iter(values.values())), layers, evaluator, kept)
    with clock.timed("methods"):
        methods = _methods(model, values, layers, runtime, evaluator, few, kept)
    with clock.timed("sensitivity"):
        alone = sensitivity(model, values, layers, few, runtime, kept)
    best = alone.best(model)
    mixed = {tensor: values[method][tensor] for tensor, method in best.items()}

    def made(floats: Collection[str]) -> onnx.ModelProto:
        names = [layer.name for layer in layers if layer.name not in floats]
        return output_graph(quantised(model, mixed, names), options.rest)

    def measured(floats: Collection[str]) -> Result:
        question = f"{runtime.name}: {options.rest} {_short(mixed)} all but {_short(sorted(floats))} in INT8"
        what = said("search", f"graph {len(search.path) + 1}")

        def measure() -> Result:
            with working(what):
                run = runtime.load(made(floats))
            return evaluator.precision(run, what)

        return kept.result(question, measure)

    least = before.overall.ap50_95 * (1 - options.max_drop)
    search = Search(layers, least, measured)
    with clock.timed("search"):
        step = search.run(
            {layer.name: alone.noise[best[layer.input]][layer.name] for layer in layers if not layer.last}
        )
    if step is None:
        raise CalibrationError(
            f"even with all convolutions in float the graph loses more than {options.max_drop:.2%} of mAP50-95: "
            "take --rest fp32, or allow more with --max-drop"
        )
    if len(step.floats) == len(layers):
        raise CalibrationError(
            f"no convolution can be INT8 with a loss of at most {options.max_drop:.2%} of mAP50-95: allow more with "
            "--max-drop, or give images as the network was trained on"
        )
    graph = made(step.floats)
    record = CalibrationSummary(path, model, graph, layers, before, search, step, alone, best, mixed, methods)
    with clock.timed("reference"):
        elsewhere = kept.result(
            f"ONNX Runtime: {sha256_of(graph)}",
            lambda: evaluator.precision(onnxruntime_engine(graph), said("reference")),
        )
    images = {"ranges": len(pictures), "evaluation": len(evaluator.pictures), "sensitivity": len(few.pictures)}
    return Calibrated(
        graph,
        _proof(graph, evaluator),
        {
            **record.document(elsewhere),
            "runtime": {"name": runtime.name, "proof": runtime.said},
            "calibrator": options.calibrator,
            "rest": options.rest,
            "max_drop": options.max_drop,
            "judged_by": "annotations" if annotations else "the float graph's own detections",
            "images": {**images, "skipped": {str(file): why for file, why in pictures.skipped.items()}},
            **clock.document(),
        },
    )


def _material(
    model: onnx.ModelProto,
    folder: Path,
    annotations: Path | None,
    served: ServedModel,
    whole: Callable[[], Run],
    name: str,
    options: CalibrationOptions,
) -> tuple[Pictures, Evaluator, Measurements]:
    """Return the pictures for the ranges, what evaluates graphs, and what an earlier run has measured with it."""
    files = find_pictures(folder)
    origin = {
        "meaning": MEANING,
        "graph_sha256": sha256_of(model),
        "served": repr(served),
        "sensitivity_images": options.sensitivity_images,
        "versions": versions(),
    }
    if annotations is None:
        pictures = read_pictures(files, served.letterbox, max(options.range_images, options.evaluation_images))
        judged = pictures.spread(options.evaluation_images)
        kept = Measurements(options.ranges, name, origin | {"images_sha256": judged.hashes})
        boxes = kept.get("boxes")
        if boxes is None:
            boxes = sure_boxes(whole(), judged, served)
            kept.put("boxes", boxes)
        return pictures.spread(options.range_images), Evaluator.of_boxes(boxes, judged, served), kept
    labelled = read_annotations(annotations)
    if unknown := unknown_names(labelled, served.labels):
        raise AnnotationError(
            f"{annotations}: the graph does not know {', '.join(unknown)}: it detects {', '.join(served.labels)}"
        )
    known = annotated(labelled, folder)
    pictures = read_pictures(files, served.letterbox, options.range_images)
    judged = read_pictures(list(known), served.letterbox, options.evaluation_images)
    evaluator = Evaluator.of_annotations(labelled, known, judged, served)
    boxes = _short([evaluator.images, evaluator.annotations.categories, evaluator.annotations.boxes])
    kept = Measurements(options.ranges, name, origin | {"images_sha256": judged.hashes, "annotations": boxes})
    return pictures.skipping(judged.skipped), evaluator, kept


def _short(value: Any) -> str:
    """Return something of JSON in a few letters that nothing else has."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _ranges(
    model: onnx.ModelProto, layers: Sequence[Convolution], pictures: Pictures, name: str, options: CalibrationOptions
) -> dict[str, Ranges]:
    """Return the ranges by each method that is asked for, from files of earlier runs if they fit."""
    methods = METHODS if options.calibrator == AUTO else (options.calibrator,)
    tensors = sorted({layer.input for layer in layers})
    graph = sha256_of(model)
    known = {m: read_ranges(options.ranges, name, m, graph, pictures.hashes, tensors) for m in methods}
    missing = [method for method, found in known.items() if found is None]
    if not missing:
        return {method: found for method, found in known.items() if found}
    state = ranges_path(options.ranges, name, "unfinished", graph, pictures.hashes).with_suffix(".npz")
    fresh = collect(model, tensors, pictures, missing, state)
    for made in fresh.values():
        made.write(options.ranges, name)
    state.unlink(missing_ok=True)
    return {method: found for method in methods if (found := fresh.get(method) or known[method])}


def _runtime(
    model: onnx.ModelProto,
    values: Mapping[str, tuple[float, float]],
    layers: Sequence[Convolution],
    evaluator: Evaluator,
    kept: Measurements,
) -> Runtime:
    """Return the runtime to measure in, proved with all but the last convolutions in INT8."""
    question = f"runtime by {_short(values)}"
    if known := kept.get(question):
        [runtime] = (each for each in RUNTIMES if each.name == known["name"])
        return replace(runtime, said=known["said"])
    graph = quantised(model, values, [layer.name for layer in layers if not layer.last])
    try:
        runtime = proved_runtime(graph, _proof(graph, evaluator))
    except ExportError:  # so little is left of the detections that nothing can be compared
        runtime = RUNTIMES[-1]
    kept.put(question, {"name": runtime.name, "said": runtime.said})
    return runtime


def _proof(graph: onnx.ModelProto, evaluator: Evaluator) -> ServedProof:
    """Return the proof of a graph, made of some of the pictures that precision is measured on."""
    pictures = np.stack([pixels for pixels, _ in evaluator.pictures.spread(PROOF_CANDIDATES)])
    content = graph.SerializeToString(deterministic=True)
    return make_proof(graph, content, pictures, evaluator.served.thresholds)


def _methods(
    model: onnx.ModelProto,
    values: Mapping[str, Mapping[str, tuple[float, float]]],
    layers: Sequence[Convolution],
    runtime: Runtime,
    evaluator: Evaluator,
    few: Evaluator,
    kept: Measurements,
) -> dict[str, MethodResult]:
    """Measure each method by itself, with all but the last convolutions in INT8."""
    names = [layer.name for layer in layers if not layer.last]
    expected = cache(lambda: few.candidates(runtime.load(model)))
    found = {}
    for method, ranges in values.items():
        question = f"{runtime.name}: all but the last by {_short(dict(ranges))}"
        known = kept.get(question)
        if known is None:
            with working(said("methods", method)):
                run = runtime.load(quantised(model, ranges, names))
            precision = evaluator.precision(run, said("methods", method)).overall.ap50_95
            known = {"noise": noise_to_signal(expected(), few.candidates(run)), "precision": precision}
            kept.put(question, known)
        found[method] = MethodResult(known["noise"], known["precision"])
    return found
