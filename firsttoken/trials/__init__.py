"""Whole undertakings: they start servers, measure through a load child, and report.

The load generator imports gevent, which patches its process; it therefore always runs as a child
process and is never imported here.
"""
