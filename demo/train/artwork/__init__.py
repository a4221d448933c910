"""The emoji that the embedded checkpoint learned: their concepts, icons, backgrounds and recognition."""
