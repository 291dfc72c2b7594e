"""Increments as a reader needs them: what they carry, and how contents are made from older ones.

Everything here is exact: the same input gives the same bytes on every machine and for ever.
"""
