"""What every API over HTTP shares: who may ask, what may come in, and how things are answered and counted."""
