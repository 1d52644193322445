"""Kernels that look n-grams up: whole texts, single steps, next-word distributions."""
