"""From a PyTorch module to a checked ONNX graph. Contract: `GraphSource` (graph_source.py)."""
