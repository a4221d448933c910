"""Calibration: trajectories of a model, the statistics of its activations, and ranges from them."""
