"""TensorRT-RTX: its compiler, which needs no GPU, and the engines that it makes, which do."""
