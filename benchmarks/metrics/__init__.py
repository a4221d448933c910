"""Figures that compare images and latents. Contract: `Metric` (metric.py)."""
