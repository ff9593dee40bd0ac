"""``firsttoken bench --models``: the deployment guide's model table, filled from measurement.

``measure`` has each model served (``serve``) and asks it (``ask``, ``quality``); what was found
(``result``, ``mark``) becomes rows (``table``) and pages (``page``).
"""

from firsttoken.trials.models.measure import ModelsPlan, measure_models

__all__ = ["ModelsPlan", "measure_models"]
