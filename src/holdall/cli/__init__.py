"""The command line: words in, text or JSON out.

The only place that prints, asks, or ends the process.
"""
