"""`mezzotint tune`: the fastest settings that keep a promise, found by measuring, as a profile of a bundle."""
