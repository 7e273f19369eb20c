"""Zip archives, and the formats that are zip archives."""
