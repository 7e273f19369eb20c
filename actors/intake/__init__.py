"""Accepts attachments: uploaded bytes, the intake rate limit and the circuit breaker of the hook."""
