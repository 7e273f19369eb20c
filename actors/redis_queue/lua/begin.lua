-- Notes that a worker begins with a message that was held when a worker died: if this one dies too, it is to blame.
--   KEYS  held by this worker
--   ARGV  key, serial
--   returns 1, or 0 if the delivery is not held any more
local held = redis.call('HGET', KEYS[1], ARGV[1])
local serial, queue, rest = string.match(held or '', '^(%d+):([^:]*):?[^:]*(.*)$')
if serial ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[1]) -- first, for a full Redis lets scripts go on that begin by giving memory back
redis.call('HSET', KEYS[1], ARGV[1], serial .. ':' .. queue .. ':begun' .. rest)
return 1
