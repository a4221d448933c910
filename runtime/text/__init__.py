"""From prompts to embeddings: the tokenizer, its files, weighted prompts, and the text encoder's call."""
