"""How an installed release lies on disk: one module a form.

Knows nothing of where bytes came from, of the desktop or of who asks.
"""
