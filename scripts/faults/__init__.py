"""Faults by name, a load of real files meanwhile, and the count afterwards. `scripts/chaos` runs it."""
