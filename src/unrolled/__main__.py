"""``python -m unrolled``, and what torchrun starts: ``torchrun --nproc-per-node 2 -m unrolled``."""

from __future__ import annotations

from unrolled.cli import main

if __name__ == "__main__":
    main()
