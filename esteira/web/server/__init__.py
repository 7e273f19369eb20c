"""uvicorn's server: limits on request heads, connections and file descriptors, and errors of its event loop."""
