"""Measuring a case in processes of its own: time, memory, machine. Contract: `Task` (task.py)."""
