"""AUTOMATIC1111's API, /sdapi/v1, as its clients know it.

What they send as neutral is taken, what would change the image and cannot be done is refused by name, and what cannot
change it is left aside.
"""
