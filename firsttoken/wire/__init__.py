"""The dialects on the wire, sans-I/O: bytes and a timestamp in, typed events out, and back.

Nothing here awaits, reads a clock or opens a socket, so the same code runs under gevent and
asyncio. :func:`firsttoken.wire.dialects.get` returns a dialect by name.
"""
