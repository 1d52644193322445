"""The protocol of all language models and what is written once on it; mixtures and caches."""
