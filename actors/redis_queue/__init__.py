"""The queue in Redis: keys, Lua scripts, scheduling, finished jobs and statistics."""
