"""Records of a line: pictures of failures, films of the seconds around them and of everything, on a disk budget."""
