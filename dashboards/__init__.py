"""Boards, recording and alerting rules, Alertmanager and Prometheus configuration: generated,
linted, committed byte by byte in ``generated/``.
"""
