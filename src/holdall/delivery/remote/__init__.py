"""Where bundles come from over a network or from a stick: one port, a module for each kind.

Bytes come in here unchecked; who asked for them checks them.
"""
