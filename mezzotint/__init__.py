"""Mezzotint makes Stable Diffusion small and fast, and measures what that cost."""

__version__ = "0.1.0"
__all__ = ["__version__"]
