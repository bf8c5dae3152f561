"""Synthetic circuit boards and video lines with known defects."""

from __future__ import annotations

from triton_yolo.boards.dataset import write_dataset
from triton_yolo.boards.defects import CLASSES
from triton_yolo.boards.draw import Board, Look, draw_board
from triton_yolo.boards.line import Frame, Line

__all__ = ["CLASSES", "Board", "Frame", "Line", "Look", "draw_board", "write_dataset"]
