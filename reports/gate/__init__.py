"""The gate: two measurements, rules, and whether one of them got worse."""
