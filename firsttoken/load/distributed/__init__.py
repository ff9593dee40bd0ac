"""One run plan over several processes or machines, on top of Locust's own master and workers.

The master reads the plan and sends it to each worker with its share of the talkers; it says when
each block begins, waits until the block has ended for all, and prints one result. Rows are
recorded where they are measured. A worker that shares the run folder writes its part there; any
other writes a folder of its own, and sends each batch to the master as well, which writes it to
the run folder on the clock of the run.
"""
