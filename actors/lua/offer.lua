-- Puts a message on the belt, unless its key is on the belt already: sending it again does nothing.
--   KEYS  messages, ready, delayed, dead letters of every queue (a list of sorted sets), last: dead messages
--   ARGV  key, message, delay in ms (0: ready now), channel, queue
--   returns 1 if it was put, 0 if the key was on the belt
local key, message, delay = ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('HEXISTS', KEYS[1], key) == 1 then
  return 0
end
redis.call('HSET', KEYS[1], key, message)
if redis.call('HDEL', KEYS[#KEYS], key) == 1 then -- what goes again is no dead letter any more
  for i = 4, #KEYS - 1 do
    redis.call('ZREM', KEYS[i], key)
  end
end
if delay > 0 then
  local now = redis.call('TIME')
  redis.call('ZADD', KEYS[3], now[1] * 1000 + math.floor(now[2] / 1000) + delay, key)
elseif redis.call('RPUSH', KEYS[2], key) == 1 then -- whoever sleeps has seen this queue empty
  redis.call('PUBLISH', ARGV[4], ARGV[5])
end
return 1
