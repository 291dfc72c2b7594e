"""How bytes arrive: the bundle, its index and its frames, from a file or a stream; increments.

Knows nothing of installed forms, of the desktop or of what a store already has.
"""
