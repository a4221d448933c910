"""Graph rewrites that change storage or structure, for one engine or for all.

Contract: `Pass` (contract.py).
"""
