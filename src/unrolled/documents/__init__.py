"""Documents, a row each in JSONL or Parquet, with the scores of language models."""
