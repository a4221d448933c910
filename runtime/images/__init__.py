"""Images in and out: files, PNG metadata, the VAE's two halves, and previews."""
