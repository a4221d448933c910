"""What a job generates, and what becomes of images that it starts from; known to the front and to workers."""
