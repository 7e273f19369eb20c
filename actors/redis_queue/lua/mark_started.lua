-- Records that a worker starts on a message that was held when a worker died: if this worker dies too, the message
-- counts as the cause.
--   KEYS  held by this worker
--   ARGV  key, delivery id
--   returns 1, or 0 if the delivery is not held any more
local held = redis.call('HGET', KEYS[1], ARGV[1])
local delivery_id, queue, rest = string.match(held or '', '^(%d+):([^:]*):[^:]*(:.*)$')
if delivery_id ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[1]) -- first: a full Redis refuses a script whose first write needs memory
redis.call('HSET', KEYS[1], ARGV[1], delivery_id .. ':' .. queue .. ':begun' .. rest)
return 1
