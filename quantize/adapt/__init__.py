"""Adapters on bundles: added to the weights of a graph, or as branches beside them, without PyTorch."""
