"""Mezzotint makes diffusion models small and fast, and measures what that cost."""

__version__ = "0.2.0.dev0"
__all__ = ["__version__"]
