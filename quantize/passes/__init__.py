"""Graph rewrites that change storage or structure, independent of the engine or for one."""
