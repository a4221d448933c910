"""Frozen dataclasses as what programs send: read strictly, with bounds, and told as JSON Schema."""
