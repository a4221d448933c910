"""Adapters that are trained for the embedded checkpoint: see README.md beside this folder, "Adapters"."""
