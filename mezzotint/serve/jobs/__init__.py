"""Jobs: the one queue that all APIs put their orders into, and the studio that has workers make them."""
