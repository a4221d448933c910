"""Seeded noise as torch's CPU, CUDA and numpy generators give it, without torch."""
