"""What things are: frozen values and their exact bytes.

Knows nothing of files, processes, clocks or the network.
"""
