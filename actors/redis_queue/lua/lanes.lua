-- What waits, whose turn it is, and what each session has in flight. Stands in front of the scripts that move messages.
--   KEYS  messages, crashes, serial, position, flight, standing, expiring, dead messages, paused; then the script's own.
--         Those of the queues have the same prefix and are made here where one is touched: to hand over all 35 of them
--         with every call takes longer than most of what a script does.
--   ARGV  the queues with a comma between them, channel, the prefix of all keys; then the script's own
--
-- A message's place is the text `charge,lane,expires,session`: what it counts while it is in flight (thousandths of a
-- file, by its session's weight), 1 in the lane of large files or 0, when its source expires (Unix ms, 0: unknown).
-- In `messages` it lies before the message: \1 place \0 message. What has none belongs to the session without a name.
local MESSAGES, CRASHES, SERIAL, POSITION, FLIGHT, STANDING, PERISHABLE, DEAD_MESSAGES, PAUSED = unpack(KEYS, 1, 9)
local OWN, PREFIX = 10, ARGV[3]

local URGENT, NOT_URGENT = '0', '1' -- in a member, before its position: so a session's urgent ones come first
local SOON = 3600 * 1000
local LATE = -24 * SOON -- what expired so long ago has nothing to lose: a history of it must hold nobody up
local MIDDLE = 2 ^ 52
local NOWHERE = '1000,0,0,'
-- A session's turn: urgent or not, then how much it has in flight (a quarter of a file is one, 1023 the most), then
-- since when it waits to be served, in ms.
local BAND, RANK, MOST, STEP = 2 ^ 50, 2 ^ 40, 1023, 250
-- A session that is paused keeps its turns above those of all others, where nobody takes one.
local ASIDE = 2 * BAND

-- All queues in their order.
local function queues()
  local names = {}
  for name in string.gmatch(ARGV[1], '[^,]+') do
    names[#names + 1] = name
  end
  return names
end

-- The place of a queue in that order; nil for one that this version does not know.
local function number_of(queue)
  local number = 1
  for name in string.gmatch(ARGV[1], '[^,]+') do
    if name == queue then
      return number
    end
    number = number + 1
  end
end

local function waiting_of(queue, lane)
  return PREFIX .. 'waiting:' .. queue .. (lane == 0 and ':small' or ':large')
end

local function turns_of(queue, lane)
  return PREFIX .. 'turns:' .. queue .. (lane == 0 and ':small' or ':large')
end

local function delayed_of(queue)
  return PREFIX .. 'delayed:' .. queue
end

local function dead_of(queue)
  return PREFIX .. 'dead:' .. queue
end

-- The list in which a former version kept what waits.
local function list_of(queue)
  return PREFIX .. 'ready:' .. queue
end

-- What the clock says at the first question: a script takes no time.
local moment
local function now()
  if not moment then
    local time = redis.call('TIME')
    moment = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  return moment
end

local function parse(text)
  local charge, lane, expires, session = string.match(text, '^(%d+),([01]),(%d+),([^%z]*)$')
  if not charge then
    return parse(NOWHERE)
  end
  return {text = text, charge = tonumber(charge), lane = tonumber(lane), expires = expires, session = session}
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

-- How much stands in `paused`: 0 if nobody has told this Redis yet what is, 1 if nothing is. Asked for once at most.
local told
local function pauses()
  told = told or redis.call('HLEN', PAUSED)
  return told
end

local function is_paused(kind, name)
  return pauses() > 1 and redis.call('HEXISTS', PAUSED, kind .. ':' .. name) == 1
end

local function turn_of(urgent, flight, since)
  return (urgent and 0 or BAND) + rank(flight) * RANK + since % RANK
end

local function hurried(turn)
  return turn % ASIDE >= BAND and turn - BAND or turn
end

-- A lane of a queue as one letter: `standing` says with these where a session has something waiting.
local function mark_of(queue, lane)
  return string.char(63 + number_of(queue) * 2 + lane)
end

local function lane_of(mark)
  local number = string.byte(mark) - 65
  return queues()[math.floor(number / 2) + 1], number % 2
end

local function stand(queue, lane, session, turn)
  local marks, mark = redis.call('HGET', STANDING, session) or '', mark_of(queue, lane)
  if not string.find(marks, mark, 1, true) then
    redis.call('HSET', STANDING, session, marks .. mark)
  end
  redis.call('ZADD', turns_of(queue, lane), turn, session)
end

local function leave(queue, lane, session)
  local marks = string.gsub(redis.call('HGET', STANDING, session) or '', mark_of(queue, lane), '')
  if marks == '' then
    redis.call('HDEL', STANDING, session)
  else
    redis.call('HSET', STANDING, session, marks)
  end
  redis.call('ZREM', turns_of(queue, lane), session)
end

-- Whether nobody else who is not paused waits for a turn in a lane.
local function is_alone(turns)
  return redis.call('ZCARD', turns) == 1
    or (pauses() > 1 and redis.call('ZCOUNT', turns, '-inf', string.format('(%.0f', ASIDE)) == 1)
end

-- Puts a message among those that wait, first or last of its session, and wakes who sleeps if nobody waited there.
local function put(queue, key, place, ms, first)
  local lane, session = place.lane, place.session
  local number = redis.call('INCR', POSITION)
  local left = tonumber(place.expires) - ms
  local urgent = left <= SOON and left > LATE
  local position = string.format('%016.0f', first and MIDDLE - number or MIDDLE + number)
  local member = session .. '\0' .. (urgent and URGENT or NOT_URGENT) .. position .. key
  redis.call('ZADD', waiting_of(queue, lane), 0, member)
  if left > SOON then
    redis.call('ZADD', PERISHABLE, place.expires, mark_of(queue, lane) .. member)
  end
  local turns = turns_of(queue, lane)
  local turn = redis.call('ZSCORE', turns, session)
  if not turn then
    local flight = tonumber(redis.call('HGET', FLIGHT, session) or 0)
    local aside = is_paused('session', session)
    stand(queue, lane, session, turn_of(urgent, flight, ms) + (aside and ASIDE or 0))
    if not aside and is_alone(turns) then
      redis.call('PUBLISH', ARGV[2], queue)
    end
  elseif urgent then
    redis.call('ZADD', turns, hurried(tonumber(turn)), session)
  end
end

-- Adds to what a session has in flight, or takes away, and moves its turns wherever it stands but in the lane `but`;
-- returns what it has.
local function charge(session, amount, but)
  local flight = redis.call('HINCRBY', FLIGHT, session, amount)
  if flight <= 0 then
    redis.call('HDEL', FLIGHT, session)
    flight = 0
  end
  local marks = redis.call('HGET', STANDING, session)
  if not marks or marks == but then
    return flight
  end
  for mark in string.gmatch(marks, '.') do
    local turns = mark ~= but and turns_of(lane_of(mark))
    local turn = turns and tonumber(redis.call('ZSCORE', turns, session))
    if turn then
      redis.call('ZADD', turns, turn - turn % BAND + rank(flight) * RANK + turn % RANK, session)
    end
  end
  return flight
end

local function bury(queue, key, message, ms)
  redis.call('ZADD', dead_of(queue), ms, key)
  redis.call('HSET', DEAD_MESSAGES, key, message)
end

-- What a worker holds: `serial:queue:begun:turn:place`. The former version wrote less, and charged nothing.
local function unpack_held(value)
  local serial, queue, begun, turn, place = string.match(value, '^(%d+):([^:]*):?([^:]*):?(-?%d*):?(.*)$')
  return serial, queue, begun, tonumber(turn) or tonumber(serial), (place or '') ~= '' and parse(place) or nil
end
