"""What this machine has: deployments, which of them is active, what is trusted, what runs.

Knows nothing of bundles, of forms' insides or of the desktop.
"""
