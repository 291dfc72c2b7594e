"""Pages for people, and a catalogue for software centres: values in, bytes of files out.

What apps say of themselves is hostile input. Knows nothing of bundles, signatures or metadata.
"""
