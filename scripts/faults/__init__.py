"""Fault injection: named faults under a load of real files, and a check of the results. `scripts/chaos` runs it."""
