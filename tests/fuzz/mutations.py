"""Ways to break a file: bytes and lines that are changed, removed, repeated or replaced."""

from __future__ import annotations

import gzip
import random

PIECES = [
    *(b"0 -0 1 -1 99 200 -99 1e9 -1e-40 -1e400 nan -inf inf 0x1p1 1e -. .5 ngram".split()),
    *(b"<s> </s> <unk> <UNK> the cat \\data\\ \\end\\ \\1-grams: \\2-grams: \\9-grams:".split()),
    *(b"18446744073709551616 4294967296 2147483648 -9223372036854775809 1=1 2=0 4=0".split()),
    *(b"\n", b"\n\n", b"\t", b" ", b"  ", b"\r\n", b"\r", b"\0", b"\xff", b"\xc3", b"\xef\xbb\xbf"),
    *(b"\v", b"\xe2\x80\xa8", b"=", b"#", b"\\", b"\n\\", b"x" * 70_000, b"9" * 400, b"\n" * 5000),
]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Break a file in one to four places, by bytes or by lines."""
    for _ in range(rng.randint(1, 4)):
        data = _mutate_lines(data, rng) if rng.random() < 0.5 else _mutate_bytes(data, rng)
    return gzip.compress(data, 1) if rng.random() < 0.05 else data


def _mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    raw = bytearray(data)
    at = rng.randrange(len(raw) + 1)
    length = rng.choice([1, 1, 1, 2, 5, 30])
    match rng.randrange(6):
        case 0:
            raw[at : at + 1] = bytes([rng.randrange(256)])
        case 1:
            del raw[at : at + length]
        case 2:
            raw[at:at] = raw[at : at + length]
        case 3:
            raw[at:at] = rng.choice(PIECES)
        case 4:
            raw[at : at + length] = rng.choice(PIECES)
        case 5:
            if rng.random() < 0.2:
                del raw[at:]
    return bytes(raw)


def _mutate_lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    words = lines[at].replace(b"\t", b" ").split(b" ")
    match rng.randrange(7):
        case 0:
            lines[at], lines[other] = lines[other], lines[at]
        case 1:
            lines.insert(at, lines[other])
        case 2:
            del lines[at]
        case 3:
            words[rng.randrange(len(words))] = rng.choice(PIECES)
            lines[at] = b"\t".join(words)
        case 4:
            words.insert(rng.randrange(len(words) + 1), rng.choice(PIECES))
            lines[at] = b" ".join(words)
        case 5:
            lines[at:at] = lines[at : at + rng.randrange(8)]
        case 6:
            low, high = sorted((at, other))
            lines = lines[:low] + lines[high:] + lines[low:high]
    return b"\n".join(lines)
