-- Drops what waits in a queue; what is held goes on.
--   ARGV  queue
local q = find(ARGV[4])
for lane = 0, 1 do
  for _, session in ipairs(redis.call('ZRANGE', KEYS[q + TURNS + lane], 0, -1)) do
    leave(q, lane, session)
  end
  for _, member in ipairs(redis.call('ZRANGE', KEYS[q + WAITING + lane], 0, -1)) do
    redis.call('ZREM', PERISHABLE, mark_of(q, lane) .. member)
    redis.call('HDEL', MESSAGES, (string.gsub(member, '^[^%z]*%z' .. string.rep('.', 17), '')))
  end
  redis.call('DEL', KEYS[q + WAITING + lane])
end
for _, key in ipairs(redis.call('LRANGE', KEYS[q + LIST], 0, -1)) do
  redis.call('HDEL', MESSAGES, key)
end
for _, key in ipairs(redis.call('ZRANGE', KEYS[q + DELAYED], 0, -1)) do
  redis.call('HDEL', MESSAGES, key)
end
redis.call('DEL', KEYS[q + LIST], KEYS[q + DELAYED])
