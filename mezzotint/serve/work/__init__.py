"""Workers: each holds one loaded bundle, in a process of its own or in a thread, and generates what orders say."""
