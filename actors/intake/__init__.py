"""Intake of attachments: inline bytes, the rate limit, the circuit breaker and the first message."""
