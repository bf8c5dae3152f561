"""Lines of cameras: each frame gets a number when it is captured, and a verdict, whatever happens to it."""
