"""N-best lists: reading them, rescoring them with language models, counting word errors."""
