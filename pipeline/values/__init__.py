"""Parsers for single values: gateway formats, base64 streams and timestamps."""
