"""From PyTorch modules to graphs, a file a family. Contract: `ExportFamily` (export_family.py)."""
