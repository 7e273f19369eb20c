"""The Dramatiq broker, its consumers and the prefetched messages that they share."""
