"""OpenAI's images API, /v1, as its official clients use it; with the extensions that other local servers have."""
