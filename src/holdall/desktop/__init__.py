"""How an installed app meets the desktop: its sandbox, its launch file, what it shows on the host.

May import store, system, model and errors. Reference: docs/reference/sandbox.md.
"""
