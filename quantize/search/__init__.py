"""Leaves nodes out of INT8 until the output reaches a wanted SQNR, by measured noise and time."""
