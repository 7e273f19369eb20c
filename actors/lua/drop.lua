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
local function renew(q)
  local following = redis.call('ZRANGEBYLEX', KEYS[q + WAITING + lane], from, to, 'LIMIT', 0, 1)[1]
  local turn = tonumber(redis.call('ZSCORE', KEYS[q + TURNS + lane], session))
  if not following or not turn then
    leave(q, lane, session)
    return
  end
  local band = string.sub(following, #session + 2, #session + 2) == URGENT and 0 or BAND
  redis.call('ZADD', KEYS[q + TURNS + lane], turn - turn % ASIDE + band + turn % BAND, session)
end

local function take_off(q)
  if redis.call('ZREM', KEYS[q + DELAYED], key) == 1 then
    return true
  end
  local member = member_in(KEYS[q + WAITING + lane])
  if member then
    redis.call('ZREM', KEYS[q + WAITING + lane], member)
    redis.call('ZREM', PERISHABLE, mark_of(q, lane) .. member)
    renew(q)
  end
  return member
end

for q = FIRST, OWN - 1, KEYS_EACH do
  if take_off(q) then
    redis.call('HDEL', MESSAGES, key)
    redis.call('HDEL', CRASHES, key)
    return 1
  end
end
return 0
