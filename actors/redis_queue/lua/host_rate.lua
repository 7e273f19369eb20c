-- The turn of a requester at one host, for all processes together; pipeline/http_client/host_rate.py counts the same
-- for one process.
--   KEYS  when the next turn is free (ms), reserved turns, requesters that wait and when each comes back, the end of
--         each session's line
--   ARGV  attachment, session, interval, horizon, grace, late, early, longest wait (all in ms)
--   returns ms to wait, as text: 0 if the turn is now
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local requester, session = ARGV[1], ARGV[2]
local interval, horizon, grace, late = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local early, longest = tonumber(ARGV[7]), tonumber(ARGV[8])
local FREE, RESERVED, WAITING, LINES = unpack(KEYS)

local function exact(ms)
  return string.format('%.3f', ms)
end

local function add(key, name, ms, ttl)
  redis.call('ZADD', key, exact(ms), name)
  redis.call('PEXPIRE', key, math.ceil(ms - now + ttl))
end

-- How far ahead a turn may be reserved: less for a requester that has waited, and not at all while its session has a
-- line.
local function reach()
  if redis.call('ZSCORE', WAITING, requester) then
    return horizon / 2
  end
  return redis.call('ZSCORE', LINES, session) and -1 or horizon
end

local function join_line()
  local begin = math.max(tonumber(redis.call('ZSCORE', LINES, session) or 0), now + horizon * 3 / 4)
  redis.call('ZADD', LINES, exact(begin), session) -- so that the count includes this session
  local ends = begin + interval * redis.call('ZCARD', LINES)
  local back_at = math.min(ends, now + longest)
  add(LINES, session, ends, 86400000)
  add(WAITING, requester, back_at, 86400000)
  return exact(back_at - now)
end

-- First: a full Redis refuses a script whose first write needs memory.
redis.call('ZREMRANGEBYSCORE', RESERVED, '-inf', exact(now - grace))
redis.call('ZREMRANGEBYSCORE', WAITING, '-inf', exact(now - late))
redis.call('ZREMRANGEBYSCORE', LINES, '-inf', exact(now))

local turn = tonumber(redis.call('ZSCORE', RESERVED, requester))
if not turn then
  turn = math.max(tonumber(redis.call('GET', FREE) or 0), now)
  if turn - now > reach() then
    return join_line()
  end
  redis.call('ZREM', WAITING, requester)
  redis.call('SET', FREE, exact(turn + interval), 'PX', math.ceil(turn + interval - now + 1000))
end
if turn <= now + early then
  redis.call('ZREM', RESERVED, requester)
  return '0'
end
add(RESERVED, requester, turn, grace + 1000)
return exact(turn - now)
