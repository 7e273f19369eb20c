"""Settings from the environment and .env, validated once per process."""
