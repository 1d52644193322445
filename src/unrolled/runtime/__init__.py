"""What all kernels and all work on many cores share: compiling, threads, SIMD types, memory.

Nothing here knows about language.
"""
