"""The bundle on disk: its manifest, its files, the sizes that its configs give. Contract: `Manifest` (manifest.py)."""
