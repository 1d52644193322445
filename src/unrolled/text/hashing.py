"""The hash of a word, in Python, and the numbers that it shares with `encoding_kernels`."""

from __future__ import annotations

MAX_PROBES = 1024
SCANNED = 32  # words that are scanned before they are looked up, see `encoding_kernels.scan_batch`
RECENT = 16384  # pairs of a memory of recent words: 256 KiB, half of a second-level cache
SEED, MIX = 0xCBF29CE484222325, 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


def hash_word(word: bytes) -> int:
    """The hash that `encoding_kernels.scan` computes."""
    hashed = SEED
    for at in range(0, len(word), 8):
        hashed = ((hashed ^ int.from_bytes(word[at : at + 8], "little")) * MIX) & _MASK
        hashed = ((hashed ^ (hashed >> 32)) * MIX) & _MASK
        hashed ^= hashed >> 32
    return hashed
