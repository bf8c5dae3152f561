"""The served graph in two halves: from pixels to features beside the camera, from those to candidates on the server."""
