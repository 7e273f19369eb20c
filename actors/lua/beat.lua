-- A worker's heartbeat; names the workers whose heart has stopped.
--   KEYS  workers
--   ARGV  worker, ms of silence after which a worker is dead
--   returns {worker, …}
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREM', KEYS[1], ARGV[1]) -- first, for a full Redis lets scripts go on that begin by giving memory back
redis.call('ZADD', KEYS[1], ms, ARGV[1])
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ms - tonumber(ARGV[2]))
