"""The queue in Redis: commands as Lua scripts, scheduling, counts, finished jobs, locks and host rates."""
