"""One file that holds a whole checkpoint: told by its header, and its parts taken out under the names that we load."""
