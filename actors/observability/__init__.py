"""Logs, Sentry, traces, metrics, worker info and the attempt log."""
