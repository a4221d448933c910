"""What becomes of each node of a graph: its scheme, its ranges, and the reason."""
