"""Dramatiq middleware: routing between stages, retries, poison messages, pauses and signals."""
