"""What a benchmark ran on: processor, GPU, and versions of packages."""
