-- The heartbeat of a worker, with its worker info; returns the workers whose last heartbeat is too long ago.
--   KEYS  workers, the info of this worker
--   ARGV  worker, ms of silence after which a worker is dead, its info as JSON or '', ms for which the info is kept
--   returns {worker, …}
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREM', KEYS[1], ARGV[1]) -- first: a full Redis refuses a script whose first write needs memory
redis.call('ZADD', KEYS[1], ms, ARGV[1])
if ARGV[3] ~= '' then
  redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
end
local silence = tonumber(ARGV[2])
-- After the clock was set back, heartbeats from the future would keep dead workers alive until then.
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], ms + silence, '+inf')) do
  redis.call('ZADD', KEYS[1], ms, worker)
end
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ms - silence)
