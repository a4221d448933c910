"""A checkpoint's files: configs, indexes and weights, read as people have them, and refused in a sentence."""
