"""Which backends are sent requests: decided here, from what attempts and probes experienced."""
