"""The server itself: the application of all APIs, its life from the start to a graceful end."""
