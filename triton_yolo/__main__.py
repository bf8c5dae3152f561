"""python -m triton_yolo does what the command triton-yolo does."""

from __future__ import annotations

from triton_yolo.cli.main import main

if __name__ == "__main__":
    main()
