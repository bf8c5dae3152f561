"""Detect on image files.

python examples/detect.py [--url URL] [IMAGE ...]
"""

from __future__ import annotations

import argparse

from triton_yolo import DetectionError, Detector
from triton_yolo.boards import draw_board

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("images", nargs="*", help="image files; without any, two circuit boards are drawn")
parser.add_argument("--url", default="127.0.0.1:8001", help="HOST:PORT for gRPC, http://HOST:PORT for HTTP")
arguments = parser.parse_args()

images = arguments.images or [draw_board(seed, 1280, 960, look="photo").image for seed in range(2)]
with Detector(arguments.url) as detector:
    # errors="return" yields the error of an image in its turn, instead of ending the loop with it.
    for number, found in enumerate(detector.detect_many(images, errors="return"), 1):
        if isinstance(found, DetectionError):
            print(f"image {number}: {found}")
            continue
        print(f"image {number}: {len(found)} defects")
        for box, score, name in zip(found.boxes, found.scores, found.names, strict=True):
            x1, y1, x2, y2 = box.round().astype(int)  # pixels of the image
            print(f"  {name} {score:.2f} at {x1},{y1} to {x2},{y2}")
