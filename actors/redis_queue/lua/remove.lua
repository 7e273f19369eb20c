-- Removes a waiting or delayed message from the queue. A held message stays with its worker.
-- Among waiting messages only the first and the last of the session are searched. A message deeper inside is skipped
-- when it is fetched, because its attachment is finished by then.
--   ARGV  key, how many messages to search from either end
--   returns 1 if it was removed
local key, most = ARGV[4], tonumber(ARGV[5])
local value = redis.call('HGET', MESSAGES, key)
if not value then
  return 0
end
local info = split(value)
local session, size_class = info.session, info.size_class
local from, to = '[' .. session .. '\0', '(' .. session .. '\1'

local function find_member(waiting)
  local function pick(members)
    for _, member in ipairs(members) do
      if string.sub(member, #session + 19) == key then
        return member
      end
    end
  end
  return pick(redis.call('ZRANGEBYLEX', waiting, from, to, 'LIMIT', 0, most))
    or pick(redis.call('ZREVRANGEBYLEX', waiting, to, from, 'LIMIT', 0, most))
end

-- Updates the turn of a session whose first message was removed: it has the urgency of its next message.
local function renew_turn(queue)
  local following = redis.call('ZRANGEBYLEX', waiting_of(queue, size_class), from, to, 'LIMIT', 0, 1)[1]
  local turn = tonumber(redis.call('ZSCORE', turns_of(queue, size_class), session))
  if not following or not turn then
    remove_turn(queue, size_class, session)
    return
  end
  local urgency = string.sub(following, #session + 2, #session + 2)
  redis.call('ZADD', turns_of(queue, size_class), with_urgency(turn, urgency), session)
end

local function remove_from(queue)
  if redis.call('ZREM', delayed_of(queue), key) == 1 then
    return true
  end
  local member = find_member(waiting_of(queue, size_class))
  if member then
    redis.call('ZREM', waiting_of(queue, size_class), member)
    redis.call('ZREM', EXPIRING, mark_of(queue, size_class) .. member)
    renew_turn(queue)
  end
  return member
end

for _, queue in ipairs(queues()) do
  if remove_from(queue) then
    redis.call('HDEL', MESSAGES, key)
    redis.call('HDEL', CRASHES, key)
    return 1
  end
end
return 0
