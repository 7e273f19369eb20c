"""HTTP intake: gateway hooks, request bodies, rate limit and the background fallback."""
