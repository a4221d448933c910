"""What the checkpoints of one architecture have in common, without PyTorch. Contract: `Family` (family.py)."""
