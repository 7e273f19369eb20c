"""The belt: the broker, the five actors, and the hook that a listener calls."""
