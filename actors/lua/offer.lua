-- Puts a message on the belt, unless its key is on the belt already: sending it again does nothing.
--   ARGV  key, message, place, delay in ms (0: it waits for its turn now), queue
--   returns 1 if it was put, 0 if the key was on the belt
local key, message, place, delay, queue = ARGV[4], ARGV[5], parse(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
if redis.call('HEXISTS', MESSAGES, key) == 1 then
  return 0
end
redis.call('HSET', MESSAGES, key, join(place, message))
if redis.call('HDEL', DEAD_MESSAGES, key) == 1 then -- what goes again is no dead letter any more
  for q = FIRST, OWN - 1, KEYS_EACH do
    redis.call('ZREM', KEYS[q + DEAD], key)
  end
end
if delay > 0 then
  redis.call('ZADD', KEYS[find(queue) + DELAYED], now() + delay, key)
else
  put(queue, key, place, now())
end
return 1
