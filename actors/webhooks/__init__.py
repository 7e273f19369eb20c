"""Delivers webhook events, and lets operators inspect and redeliver them."""
