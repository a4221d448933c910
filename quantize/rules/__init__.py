"""Which nodes are quantized and which are not, with the reason: one file a family."""
