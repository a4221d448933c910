"""Proof: parity with the FP32 graph, and the engine's own record of what it ran."""
