"""The doctor: what is not well with this installation, what to do, and what this machine reaches.

Its parts are imported one by one: `packages` has to run where another part's imports fail.
"""
