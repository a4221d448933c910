"""What a manifest says, in lines to read."""
