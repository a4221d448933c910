"""Our own API, /api/v1: jobs that are submitted, watched, cancelled and fetched."""
