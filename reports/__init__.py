"""From a run's records to a verdict and a page: statistics, tables, figures, files.

``build.report`` reads a run folder, ``write.write_all`` writes its report, ``terminal.table``
prints it.
"""
