"""Whether the load generator's clock can be trusted, beside the clocks of others."""
