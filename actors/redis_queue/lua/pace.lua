-- A comer's turn at one host, for all processes together; the same as pipeline/http_client/host_rate.py counts alone.
--   KEYS  when the next turn is free (ms), turns that are given away, who waits and when he is to come back, where each
--         session's line ends
--   ARGV  attachment, session, interval, horizon, grace, late, early, longest wait (all in ms)
--   returns ms to wait, as text: 0 if its turn is now
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local comer, session = ARGV[1], ARGV[2]
local interval, horizon, grace, late = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local early, longest = tonumber(ARGV[7]), tonumber(ARGV[8])
local FREE, GIVEN, WAITING, LINES = unpack(KEYS)

local function exact(ms)
  return string.format('%.3f', ms)
end

local function note(key, name, ms, kept)
  redis.call('ZADD', key, exact(ms), name)
  redis.call('PEXPIRE', key, math.ceil(ms - now + kept))
end

local function reach()
  if redis.call('ZSCORE', WAITING, comer) then
    return horizon / 2
  end
  return redis.call('ZSCORE', LINES, session) and -1 or horizon
end

local function queue()
  local begin = math.max(tonumber(redis.call('ZSCORE', LINES, session) or 0), now + horizon * 3 / 4)
  redis.call('ZADD', LINES, exact(begin), session) -- counted among those that wait
  local ends = begin + interval * redis.call('ZCARD', LINES)
  local back_at = math.min(ends, now + longest)
  note(LINES, session, ends, 86400000)
  note(WAITING, comer, back_at, 86400000)
  return exact(back_at - now)
end

-- First, for a full Redis lets scripts go on that begin by giving memory back.
redis.call('ZREMRANGEBYSCORE', GIVEN, '-inf', exact(now - grace))
redis.call('ZREMRANGEBYSCORE', WAITING, '-inf', exact(now - late))
redis.call('ZREMRANGEBYSCORE', LINES, '-inf', exact(now))

local turn = tonumber(redis.call('ZSCORE', GIVEN, comer))
if not turn then
  turn = math.max(tonumber(redis.call('GET', FREE) or 0), now)
  if turn - now > reach() then
    return queue()
  end
  redis.call('ZREM', WAITING, comer)
  redis.call('SET', FREE, exact(turn + interval), 'PX', math.ceil(turn + interval - now + 1000))
end
if turn <= now + early then
  redis.call('ZREM', GIVEN, comer)
  return '0'
end
note(GIVEN, comer, turn, grace + 1000)
return exact(turn - now)
