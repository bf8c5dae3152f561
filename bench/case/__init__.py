"""The inspection line before and after, a change at a time: the command is ``triton-yolo bench case``."""
