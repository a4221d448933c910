"""Inference engines behind one contract, `Engine` (engine.py). A `Session` (session.py) runs a graph on one of them."""
