"""The measures of scripts/bench, one module for each."""
