"""The only door to the kernel, to other processes and to durable writes.

Knows paths, file descriptors and bytes; nothing of apps, releases or stores.
"""
