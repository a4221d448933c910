"""What is asked of ONNX graphs: their nodes, weights and files."""
