-- What waits, whose turn it is, and what each session has in flight. Stands in front of the scripts that move messages.
--   KEYS  messages, crashes, serial, position, flight, dead messages;
--         for each queue: waiting small, waiting large, turns small, turns large, expiring, delayed, dead,
--         and the list in which the former version kept what waits; then the script's own
--   ARGV  the queues with a comma between them, channel; then the script's own
--
-- A message's place is the text `charge,lane,expires,session`: what it counts while it is in flight (thousandths of a
-- file, by its session's weight), 1 in the lane of large files or 0, when its source expires (Unix ms, 0: unknown).
-- In `messages` it lies before the message: \1 place \0 message. What has none belongs to the session without a name.
local MESSAGES, CRASHES, SERIAL, POSITION, FLIGHT, DEAD_MESSAGES = unpack(KEYS, 1, 6)
local FIRST, KEYS_EACH = 7, 8
local WAITING, TURNS, EXPIRING, DELAYED, DEAD, LIST = 0, 2, 4, 5, 6, 7 -- from a queue's first key; the lane is added
local QUEUES, OWN = {}, FIRST
for name in string.gmatch(ARGV[1], '[^,]+') do
  QUEUES[name] = OWN
  OWN = OWN + KEYS_EACH
end

local URGENT, WAITS = '0', '1' -- in a member, before its position: so a session's urgent ones come first
local SOON = 3600 * 1000
local MIDDLE = 2 ^ 52
local NOWHERE = '1000,0,0,'
-- A session's turn: urgent or not, then how much it has in flight (a quarter of a file is one, 1023 the most), then
-- since when it waits to be served.
local BAND, RANK, MOST, STEP = 2 ^ 50, 2 ^ 40, 1023, 250

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function parse(text)
  local charge, lane, expires, session = string.match(text, '^(%d+),([01]),(%d+),([^%z]*)$')
  if not charge then
    return parse(NOWHERE)
  end
  return {text = text, charge = tonumber(charge), lane = tonumber(lane), expires = tonumber(expires), session = session}
end

local function join(place, message)
  return '\1' .. place.text .. '\0' .. message
end

local function split(value)
  local ends = string.byte(value) == 1 and string.find(value, '\0', 2, true)
  if not ends then
    return parse(NOWHERE), value
  end
  return parse(string.sub(value, 2, ends - 1)), string.sub(value, ends + 1)
end

local function rank(flight)
  return math.min(MOST, math.floor(flight / STEP))
end

-- Puts a message among those that wait, first or last of its session, and wakes who sleeps if nobody waited there.
local function put(name, key, place, ms, first)
  local q, session = QUEUES[name], place.session
  local waiting, turns = KEYS[q + WAITING + place.lane], KEYS[q + TURNS + place.lane]
  local number = redis.call('INCR', POSITION)
  local urgent = place.expires > 0 and place.expires - ms <= SOON
  local position = string.format('%016.0f', first and MIDDLE - number or MIDDLE + number)
  local member = session .. '\0' .. (urgent and URGENT or WAITS) .. position .. key
  redis.call('ZADD', waiting, 0, member)
  if place.expires > 0 and not urgent then
    redis.call('ZADD', KEYS[q + EXPIRING], place.expires, member)
  end
  local turn = redis.call('ZSCORE', turns, session)
  if turn then
    if urgent and tonumber(turn) >= BAND then
      redis.call('ZADD', turns, tonumber(turn) - BAND, session)
    end
    return
  end
  local flight = tonumber(redis.call('HGET', FLIGHT, session) or 0)
  redis.call('ZADD', turns, (urgent and 0 or BAND) + rank(flight) * RANK + number % RANK, session)
  if redis.call('ZCARD', turns) == 1 then
    redis.call('PUBLISH', ARGV[2], name)
  end
end

-- Adds to what a session has in flight, or takes away, and moves the session's turns wherever it stands.
local function charge(session, amount)
  local flight = redis.call('HINCRBY', FLIGHT, session, amount)
  if flight <= 0 then
    redis.call('HDEL', FLIGHT, session)
    flight = 0
  end
  for q = FIRST, OWN - 1, KEYS_EACH do
    for lane = 0, 1 do
      local turn = tonumber(redis.call('ZSCORE', KEYS[q + TURNS + lane], session))
      if turn then
        local moved = math.floor(turn / BAND) * BAND + rank(flight) * RANK + turn % RANK
        redis.call('ZADD', KEYS[q + TURNS + lane], moved, session)
      end
    end
  end
end

local function bury(name, key, message, ms)
  redis.call('ZADD', KEYS[QUEUES[name] + DEAD], ms, key)
  redis.call('HSET', DEAD_MESSAGES, key, message)
end

-- What a worker holds: `serial:queue:begun:turn:place`. A former version wrote less, and charged nothing.
local function unpack_held(value)
  local serial, queue, begun, turn, place = string.match(value, '^(%d+):([^:]*):?([^:]*):?(-?%d*):?(.*)$')
  return serial, queue, begun, tonumber(turn) or tonumber(serial), (place or '') ~= '' and parse(place) or nil
end
