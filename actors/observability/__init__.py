"""Logs, Sentry, traces, metrics and the attempt log."""
