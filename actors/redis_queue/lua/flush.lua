-- Removes all waiting and delayed messages of a queue. Held messages stay.
--   ARGV  queue
local queue = ARGV[4]
for size_class = 0, 1 do
  for _, session in ipairs(redis.call('ZRANGE', turns_of(queue, size_class), 0, -1)) do
    remove_turn(queue, size_class, session)
  end
  for _, member in ipairs(redis.call('ZRANGE', waiting_of(queue, size_class), 0, -1)) do
    redis.call('ZREM', EXPIRING, mark_of(queue, size_class) .. member)
    redis.call('HDEL', MESSAGES, (string.gsub(member, '^[^%z]*%z' .. string.rep('.', 17), '')))
  end
  redis.call('DEL', waiting_of(queue, size_class))
end
for _, key in ipairs(redis.call('ZRANGE', delayed_of(queue), 0, -1)) do
  redis.call('HDEL', MESSAGES, key)
end
redis.call('DEL', delayed_of(queue))
