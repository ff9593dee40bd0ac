"""What engines say of themselves, translated to the names of the catalogue; no input or output.

One file an engine. Each is a :class:`exporter.engines.reading.Engine`: the pages it serves, how it
is recognised, and a pure function from their bodies to readings.
"""
