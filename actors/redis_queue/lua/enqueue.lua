-- Enqueues messages. A message whose key is in the queue already is left out, so the call may be repeated.
--   ARGV  for each: key, message, scheduling info, delay in ms (0: none), queue
--   returns how many were added
local function enqueue(key, message, info, delay, queue)
  if redis.call('HSETNX', MESSAGES, key, join(info, message)) == 0 then
    return 0
  end
  if redis.call('HDEL', DEAD_MESSAGES, key) == 1 then -- a replay: it is no dead letter any more
    for _, name in ipairs(queues()) do
      redis.call('ZREM', dead_of(name), key)
    end
  end
  if delay > 0 then
    redis.call('ZADD', delayed_of(queue), now() + delay, key)
  else
    push(queue, key, info, now())
  end
  return 1
end

local added = 0
for i = 4, #ARGV, 5 do
  added = added + enqueue(ARGV[i], ARGV[i + 1], parse_info(ARGV[i + 2]), tonumber(ARGV[i + 3]), ARGV[i + 4])
end
return added
