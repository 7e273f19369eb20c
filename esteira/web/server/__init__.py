"""uvicorn's connections: limits on request heads and connection lifetimes."""
