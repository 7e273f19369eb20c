-- A worker's heartbeat, with what it says of itself; names the workers whose heart has stopped.
--   KEYS  workers, what this worker says
--   ARGV  worker, ms of silence after which a worker is dead, what it says, ms for which that is kept
--   returns {worker, …}
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREM', KEYS[1], ARGV[1]) -- first, for a full Redis lets scripts go on that begin by giving memory back
redis.call('ZADD', KEYS[1], ms, ARGV[1])
if ARGV[3] ~= '' then
  redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
end
local silence = tonumber(ARGV[2])
-- A clock that was ahead was set back: by what it noted, the dead would live until then.
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], ms + silence, '+inf')) do
  redis.call('ZADD', KEYS[1], ms, worker)
end
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ms - silence)
