-- Drops what waits in a queue; what is held goes on.
--   ARGV  queue
local queue = ARGV[4]
for lane = 0, 1 do
  for _, session in ipairs(redis.call('ZRANGE', turns_of(queue, lane), 0, -1)) do
    leave(queue, lane, session)
  end
  for _, member in ipairs(redis.call('ZRANGE', waiting_of(queue, lane), 0, -1)) do
    redis.call('ZREM', PERISHABLE, mark_of(queue, lane) .. member)
    redis.call('HDEL', MESSAGES, (string.gsub(member, '^[^%z]*%z' .. string.rep('.', 17), '')))
  end
  redis.call('DEL', waiting_of(queue, lane))
end
for _, key in ipairs(redis.call('LRANGE', list_of(queue), 0, -1)) do
  redis.call('HDEL', MESSAGES, key)
end
for _, key in ipairs(redis.call('ZRANGE', delayed_of(queue), 0, -1)) do
  redis.call('HDEL', MESSAGES, key)
end
redis.call('DEL', list_of(queue), delayed_of(queue))
