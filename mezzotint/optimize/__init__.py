"""From a checkpoint to a quantized bundle in one call: export, quantization, audit and a short check of fidelity."""
