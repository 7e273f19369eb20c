-- Puts messages on the belt, but those whose key is on the belt already: sending them again does nothing.
--   ARGV  for each: key, message, place, delay in ms (0: it waits for its turn now), queue
--   returns how many were put
local function offer(key, message, place, delay, queue)
  if redis.call('HSETNX', MESSAGES, key, join(place, message)) == 0 then
    return 0
  end
  if redis.call('HDEL', DEAD_MESSAGES, key) == 1 then -- what goes again is no dead letter any more
    for _, name in ipairs(queues()) do
      redis.call('ZREM', dead_of(name), key)
    end
  end
  if delay > 0 then
    redis.call('ZADD', delayed_of(queue), now() + delay, key)
  else
    put(queue, key, place, now())
  end
  return 1
end

local put_here = 0
for i = 4, #ARGV, 5 do
  put_here = put_here + offer(ARGV[i], ARGV[i + 1], parse(ARGV[i + 2]), tonumber(ARGV[i + 3]), ARGV[i + 4])
end
return put_here
