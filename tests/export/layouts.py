"""Small networks whose outputs have exactly the layout of a family's exports, and a plain reading of each.

The decoding follows each family's published code; the network before it is one convolution for each stride, with
weights that make every box, score and class depend on the pixels of its cell and on their channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper, parser

STRIDES = (8, 16, 32)
ANCHORS = ((1.2, 1.6), (2.0, 3.7), (4.1, 2.9))  # YOLOv5's width and height in cells, three a cell
Floats = npt.NDArray[np.float32]
Outputs = Mapping[str, Floats]


@dataclass(frozen=True)
class Family:
    """One export layout.

    Attributes:
        head: what it has to be recognised as.
        tail: from `box` [B, 4, A], `obj` [B, 1, A], `cls` [B, C, A], all before any activation, to the outputs: ONNX
            text with {classes}; `cx`, `cy` [1, 1, A] are the cells' corners in cells and `stride` [1, 1, A].
        outputs: ONNX declarations of the outputs with {anchors}, {classes}, {features}.
        read: from the outputs of one run to boxes [B, A, 4], x1, y1, x2, y2 in pixels, and scores [B, A, C].
        each: anchors a cell.
        input: what --input says of it.
        centred: where its letterbox lies.
        extra: numbers beside the classes among its features.
    """

    head: str
    tail: str
    outputs: tuple[str, ...]
    read: Callable[[Sequence[Floats]], tuple[Floats, Floats]]
    each: int = 1
    input: str = "rgb-0-1"
    centred: bool = True
    extra: int = 4


def _corners(centre_size: Floats) -> Floats:
    half = centre_size[..., 2:4] / 2
    return np.concatenate([centre_size[..., :2] - half, centre_size[..., :2] + half], -1)


def _with_objectness(outputs: Sequence[Floats]) -> tuple[Floats, Floats]:
    rows = outputs[0]
    return _corners(rows[..., :4]), rows[..., 5:] * rows[..., 4:5]


def _features_first(outputs: Sequence[Floats]) -> tuple[Floats, Floats]:
    rows = outputs[0].transpose(0, 2, 1)
    return _corners(rows[..., :4]), rows[..., 4:]


def _undecoded(outputs: Sequence[Floats]) -> tuple[Floats, Floats]:
    rows = outputs[0]
    cells = undecoded_cells(rows.shape[1])
    centre, size = (rows[..., :2] + cells[:, :2]) * cells[:, 2:], np.exp(rows[..., 2:4]) * cells[:, 2:]
    return _corners(np.concatenate([centre, size], -1)), rows[..., 5:] * rows[..., 4:5]


def undecoded_cells(anchors: int) -> Floats:
    """Column, row, stride of each cell of the only sizes that the tests give to this family."""
    height, width = {8400: (640, 640), 5040: (384, 640), 2100: (320, 320), 3549: (416, 416)}[anchors]
    return cells(height, width)


def cells(height: int, width: int) -> Floats:
    """float32 [A, 3], column, row and stride, as the families list them: by stride, row by row."""
    rows = []
    for stride in STRIDES:
        for row in range(height // stride):
            rows += [(column, row, stride) for column in range(width // stride)]
    return np.array(rows, np.float32)


def _final(outputs: Sequence[Floats]) -> tuple[Floats, Floats]:
    rows = outputs[0]
    scores = np.zeros((*rows.shape[:2], 16), np.float32)
    np.put_along_axis(scores, rows[..., 5:6].astype(int), rows[..., 4:5], 2)
    return rows[..., :4], scores


# Distances to the four sides, as all heads with DFL give them after it; here softplus keeps them above 0.
SIDES = """
    sides = Softplus (box)
    left, top, right, bottom = Split <axis = 1, num_outputs = 4> (sides)
    mx = Add (cx, half)  my = Add (cy, half)
    x1 = Sub (mx, left)  y1 = Sub (my, top)  x2 = Add (mx, right)  y2 = Add (my, bottom)
"""
CORNERS = (
    SIDES
    + """
    cells_xyxy = Concat <axis = 1> (x1, y1, x2, y2)
    xyxy = Mul (cells_xyxy, stride)
    scores = Sigmoid (cls)
"""
)
CENTRES = (
    SIDES
    + """
    sx = Add (x1, x2)  sy = Add (y1, y2)  midx = Mul (sx, half)  midy = Mul (sy, half)
    w = Sub (x2, x1)  h = Sub (y2, y1)
    cells_cxcywh = Concat <axis = 1> (midx, midy, w, h)
    cxcywh = Mul (cells_cxcywh, stride)
    scores = Sigmoid (cls)
"""
)
YOLOX = """
    ox, oy, lw, lh = Split <axis = 1, num_outputs = 4> (box)
    objectness = Sigmoid (obj)
    scores = Sigmoid (cls)
"""
ROWS = "rows = Concat <axis = 1> ({parts})  output = Transpose <perm = [0, 2, 1]> (rows)"
FEATURES_LAST, FEATURES_FIRST = "float[B, {anchors}, {features}] output", "float[B, {features}, {anchors}] output0"

FAMILIES = {
    # https://github.com/ultralytics/yolov5 models/yolo.py, Detect; YOLOv7's IDetect is the same.
    "yolov5": Family(
        "yolov5",
        """
        sbox = Sigmoid (box)
        bx, by, bw, bh = Split <axis = 1, num_outputs = 4> (sbox)
        bx2 = Mul (bx, two)  by2 = Mul (by, two)  bw2 = Mul (bw, two)  bh2 = Mul (bh, two)
        bx3 = Sub (bx2, half)  by3 = Sub (by2, half)
        bx4 = Add (bx3, cx)  by4 = Add (by3, cy)
        bw4 = Mul (bw2, bw2)  bh4 = Mul (bh2, bh2)
        bw5 = Mul (bw4, anchor_w)  bh5 = Mul (bh4, anchor_h)
        cells_cxcywh = Concat <axis = 1> (bx4, by4, bw5, bh5)
        cxcywh = Mul (cells_cxcywh, stride)
        objectness = Sigmoid (obj)
        scores = Sigmoid (cls)
        """
        + ROWS.format(parts="cxcywh, objectness, scores"),
        (FEATURES_LAST,),
        _with_objectness,
        each=3,
        extra=5,
    ),
    # https://github.com/meituan/YOLOv6 yolov6/models/effidehead.py: a column of ones for objectness.
    "yolov6": Family(
        "yolov6",
        CENTRES
        + "zero = Sub (obj, obj)  one = Add (zero, two)  ones = Mul (one, half)"
        + ROWS.format(parts="cxcywh, ones, scores"),
        (FEATURES_LAST,),
        _with_objectness,
        extra=5,
    ),
    # https://github.com/ultralytics/ultralytics nn/modules/head.py, Detect, and WongKinYiu's YOLOv9.
    "yolov8": Family(
        "yolov8", CENTRES + "output0 = Concat <axis = 1> (cxcywh, scores)", (FEATURES_FIRST,), _features_first
    ),
    # https://github.com/THU-MIG/yolov10, v10Detect, and YOLO26: the best 300 of all classes.
    "yolov10": Family(
        "yolov10",
        CORNERS
        + """
        all_boxes = Transpose <perm = [0, 2, 1]> (xyxy)
        all_scores = Transpose <perm = [0, 2, 1]> (scores)
        flat = Flatten <axis = 1> (all_scores)
        best, index = TopK <axis = 1> (flat, three_hundred)
        anchor = Div (index, class_count)
        class = Mod (index, class_count)
        where = Unsqueeze (anchor, last)
        boxes = GatherND <batch_dims = 1> (all_boxes, where)
        score_column = Unsqueeze (best, last)
        class_float = Cast <to = 1> (class)
        class_column = Unsqueeze (class_float, last)
        output0 = Concat <axis = 2> (boxes, score_column, class_column)
        """,
        ("float[B, 300, 6] output0",),
        _final,
    ),
    # https://github.com/Megvii-BaseDetection/YOLOX yolox/models/yolo_head.py, decode_in_inference.
    "yolox": Family(
        "yolox",
        YOLOX
        + """
        px = Add (ox, cx)  py = Add (oy, cy)  ew = Exp (lw)  eh = Exp (lh)
        cells_cxcywh = Concat <axis = 1> (px, py, ew, eh)
        cxcywh = Mul (cells_cxcywh, stride)
        """
        + ROWS.format(parts="cxcywh, objectness, scores"),
        (FEATURES_LAST,),
        _with_objectness,
        input="bgr-0-255",
        centred=False,
        extra=5,
    ),
    "yolox-raw": Family(
        "yolox-raw",
        YOLOX + ROWS.format(parts="ox, oy, lw, lh, objectness, scores"),
        (FEATURES_LAST,),
        _undecoded,
        input="bgr-0-255",
        centred=False,
        extra=5,
    ),
    # LibreYOLO's YOLOv9 (libreyolo/models/yolo9); its RTMDet and PicoDet have the same with features last.
    "xyxy": Family(
        "xyxy",
        CORNERS + "output0 = Concat <axis = 1> (xyxy, scores)",
        (FEATURES_FIRST,),
        lambda outputs: (outputs[0].transpose(0, 2, 1)[..., :4], outputs[0].transpose(0, 2, 1)[..., 4:]),
    ),
    # PP-YOLOE and YOLO-NAS as SuperGradients and LibreYOLO export them.
    "split": Family(
        "split",
        CORNERS + "boxes = Transpose <perm = [0, 2, 1]> (xyxy)  class_scores = Transpose <perm = [0, 2, 1]> (scores)",
        ("float[B, {anchors}, 4] boxes", "float[B, {anchors}, {classes}] class_scores"),
        lambda outputs: (outputs[0], outputs[1]),
    ),
}


def network(
    family: Family,
    size: tuple[int, int] = (320, 320),
    classes: int = 3,
    batch: int | None = None,
    opset: int = 20,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> onnx.ModelProto:
    """Build a network of one family's layout.

    Args:
        family: of FAMILIES.
        size: height, width in pixels, multiples of 32.
        classes: their number.
        batch: fixed batch size, written into its Reshapes as exporters do; None leaves it free.
        opset: 18 or newer.
        names: of the classes, for the metadata, as Ultralytics writes them.
        seed: of its weights.
    """
    height, width = size
    grid = np.concatenate([np.tile(_level(height, width, s), (family.each, 1)) for s in STRIDES])
    anchors, features = len(grid), 5 + classes
    first = -1 if batch is None else batch
    steps, initializers = [], {"half": np.float32(0.5), "two": np.float32(2)}
    rng = np.random.default_rng(seed)
    scale = 1.0 if family.input.endswith("0-1") else 1 / 255
    for stride in STRIDES:
        count = (height // stride) * (width // stride) * family.each
        # The mean of each channel over its cell, mixed: large enough that scores spread over 0..1.
        mix = rng.normal(size=(features * family.each, 3)).astype(np.float32) * 3 * scale
        weights = np.repeat(mix[..., None], stride * stride, 2).reshape(*mix.shape, stride, stride) / stride**2
        initializers[f"weights{stride}"] = weights
        initializers[f"bias{stride}"] = rng.normal(size=len(mix)).astype(np.float32) * 0.5 - 0.5
        per = height // stride * (width // stride)
        initializers[f"apart{stride}"] = np.array([first, family.each, features, per], np.int64)
        initializers[f"flat{stride}"] = np.array([first, features, count], np.int64)
        steps.append(f"""
            map{stride} = Conv <strides = [{stride}, {stride}]> (images, weights{stride}, bias{stride})
            apart_{stride} = Reshape (map{stride}, apart{stride})
            turned_{stride} = Transpose <perm = [0, 2, 1, 3]> (apart_{stride})
            level{stride} = Reshape (turned_{stride}, flat{stride})""")
    initializers |= {
        "parts": np.array([4, 1, classes], np.int64),
        "cx": grid[:, 0][None, None],
        "cy": grid[:, 1][None, None],
        "stride": grid[:, 2][None, None],
        "three_hundred": np.array([300], np.int64),
        "class_count": np.array(classes, np.int64),
        "last": np.array([-1], np.int64),
    }
    if family.each > 1:
        sizes = np.concatenate([np.repeat(ANCHORS, len(_level(height, width, s)), 0) for s in STRIDES])
        initializers |= {"anchor_w": sizes[:, 0][None, None], "anchor_h": sizes[:, 1][None, None]}
    dims = {"anchors": anchors, "classes": classes, "features": classes + family.extra}
    outputs = ", ".join(output.format(**dims) for output in family.outputs)
    model = parser.parse_model(f"""<ir_version: 10, opset_import: ["" : {opset}]>
        net (float[B, 3, {height}, {width}] images) => ({outputs})
        {{
            {"".join(steps)}
            raw = Concat <axis = 2> (level8, level16, level32)
            box, obj, cls = Split <axis = 1> (raw, parts)
            {family.tail}
        }}""")
    used = {name for node in model.graph.node for name in node.input}
    for name, array in initializers.items():
        if name in used:
            kind = np.int64 if np.asarray(array).dtype == np.int64 else np.float32
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array, kind), name))
    if batch is not None:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = batch
    if names is not None:
        model.metadata_props.add(key="names", value=str(dict(enumerate(names))))
    onnx.checker.check_model(model, full_check=True)
    return model


def _level(height: int, width: int, stride: int) -> Floats:
    """float32 [cells, 3], column, row and stride of one map."""
    rows, columns = np.mgrid[: height // stride, : width // stride].reshape(2, -1)
    return np.stack([columns, rows, np.full_like(rows, stride)], 1).astype(np.float32)
