"""The router: one way from a client's request to the first token of the backend that serves it.

front -> normalise -> identify -> signals -> policy -> attempts behind the commit gate -> relay
-> account
"""
