"""Periodic work of the worker processes: heartbeats, reaping, maintenance tasks and deletions."""
