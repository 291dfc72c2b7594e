"""Making increments: which old content resembles a new one, and the least that tells them apart.

A reader needs nothing of this; nothing here may change what `delivery.delta` gives.
"""
