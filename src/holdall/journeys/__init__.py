"""The verbs: each module is one thing a person asks for, planned as a value and then done.

The Python interface of holdall. Prints nothing, asks nothing: reports events and raises named
errors.
"""
