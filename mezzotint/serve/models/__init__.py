"""The bundles that a server offers: what they are called, what they can do, and what they cost in memory."""
