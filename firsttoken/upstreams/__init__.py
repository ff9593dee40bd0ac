"""Servers that we test and measure against, each an asyncio process of its own.

``truth`` knows to the nanosecond when it wrote each first token, ``cloud`` behaves like a remote
service, ``faults`` misbehaves on request. All three answer with scripts (:mod:`.script`)
that one small HTTP server (:mod:`.connection`, :mod:`.server`) plays.
"""
