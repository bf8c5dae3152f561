"""Lines of cameras: each frame gets a number when it is captured, and a result, whatever happens to it."""
