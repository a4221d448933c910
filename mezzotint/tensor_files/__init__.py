"""Files of weights, read without PyTorch and without running their code. Contract: `TensorFile` (tensor_file.py)."""
