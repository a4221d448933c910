"""From decisions to graphs that an engine runs in integers: one file a target. Contract: `Target` (target.py)."""
