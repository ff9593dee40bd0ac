"""The load generator: what is said (corpus, plan), how it is sent and stamped (client), what is
kept (recorder), and how Locust is driven (talker, hooks, driver).

``talker``, ``hooks``, ``driver``, ``by_hand``, ``table``, ``meter``, ``recorder`` and ``calibrate``
import locust or gevent, and importing locust or ``calibrate`` patches the whole process: only a
process of its own may do that. The rest is plain Python that runs anywhere.
"""
