"""How a server is set up: a file, the environment and flags, which come to one frozen value."""
