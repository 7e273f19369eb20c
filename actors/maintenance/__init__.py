"""Periodic work of the worker processes: heartbeats, reaping, requeueing and deletions."""
