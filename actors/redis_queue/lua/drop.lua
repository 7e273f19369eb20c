-- Takes a message off the belt that waits or is delayed; one that a worker holds stays with it.
-- In a lane it looks only at the nearest and the farthest of its session: one that lies deeper is found to have ended
-- when its turn comes.
--   ARGV  key, how many it looks at from either end
--   returns 1 if it was taken off
local key, most = ARGV[4], tonumber(ARGV[5])
local value = redis.call('HGET', MESSAGES, key)
if not value then
  return 0
end
local place = split(value)
local session, lane = place.session, place.lane
local from, to = '[' .. session .. '\0', '(' .. session .. '\1'

local function member_in(waiting)
  local function pick(found)
    for _, member in ipairs(found) do
      if string.sub(member, #session + 19) == key then
        return member
      end
    end
  end
  return pick(redis.call('ZRANGEBYLEX', waiting, from, to, 'LIMIT', 0, most))
    or pick(redis.call('ZREVRANGEBYLEX', waiting, to, from, 'LIMIT', 0, most))
end

-- The turn of a session whose first message has gone: urgent or not as the next one is.
local function renew(queue)
  local following = redis.call('ZRANGEBYLEX', waiting_of(queue, lane), from, to, 'LIMIT', 0, 1)[1]
  local turn = tonumber(redis.call('ZSCORE', turns_of(queue, lane), session))
  if not following or not turn then
    leave(queue, lane, session)
    return
  end
  local band = string.sub(following, #session + 2, #session + 2) == URGENT and 0 or BAND
  redis.call('ZADD', turns_of(queue, lane), turn - turn % ASIDE + band + turn % BAND, session)
end

local function take_off(queue)
  if redis.call('ZREM', delayed_of(queue), key) == 1 then
    return true
  end
  local member = member_in(waiting_of(queue, lane))
  if member then
    redis.call('ZREM', waiting_of(queue, lane), member)
    redis.call('ZREM', PERISHABLE, mark_of(queue, lane) .. member)
    renew(queue)
  end
  return member
end

for _, queue in ipairs(queues()) do
  if take_off(queue) then
    redis.call('HDEL', MESSAGES, key)
    redis.call('HDEL', CRASHES, key)
    return 1
  end
end
return 0
