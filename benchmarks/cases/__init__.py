"""What is measured: PyTorch, bundles, and other people's exports. Contract: `Subject` (case.py)."""
