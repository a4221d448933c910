"""From decisions to graphs that an engine runs in integers: one file and a tuple of passes for each target.

Contract: `Target` (target.py).
"""
