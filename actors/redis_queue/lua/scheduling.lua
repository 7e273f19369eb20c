-- Waiting messages, the turns of sessions and what each session has in flight. Prepended to the scripts that move
-- messages.
--   KEYS  messages, crashes, serial, position, flight, standing, expiring, dead-messages, paused; then the script's
--         own. Keys of one queue share the prefix and are built here when they are needed: passing all 35 of them with
--         every call takes longer than most of what a script does.
--   ARGV  the queues, comma-separated; channel; the prefix of all keys; then the script's own
--
-- The scheduling info of a message is the text `charge,size class,expires,session`: what it counts while it is in
-- flight (thousandths of a file, divided by the session's weight), 1 for a large file or 0, when its source expires
-- (Unix ms, 0: unknown, 1: it is of the history and goes last). A value in `messages` is \1 info \0 message. A value without info belongs to the session
-- without a name.
local MESSAGES, CRASHES, SERIAL, POSITION, IN_FLIGHT, SESSION_MARKS, EXPIRING, DEAD_MESSAGES, PAUSED = unpack(KEYS)
local OWN, PREFIX = 10, ARGV[3]

-- In a member, before its position: urgent messages of a session sort first, those of the history last.
local URGENT, NOT_URGENT, LAST = '0', '1', '2'
local HISTORY = '1' -- in place of the expiry
local URGENT_WITHIN = 3600 * 1000
-- A source that expired more than a day ago is not urgent any more: a history of such messages must not delay others.
local URGENT_UNTIL = -24 * URGENT_WITHIN
local MIDDLE = 2 ^ 52
local DEFAULT_INFO = '1000,0,0,'
-- The turn of a session, as one number: urgent or not, whether only history waits, its load (in quarters of a file in
-- flight, at most 1023), and since when it waits, in ms. The lowest turn is served first.
local BAND, HISTORY_BAND, LOAD_UNIT, MAX_LOAD, LOAD_STEP = 2 ^ 50, 2 ^ 49, 2 ^ 39, 1023, 250
-- `flight` has two numbers of a session in one, so that one command changes both: its load, and times this its messages
-- of the queue `fetch` that workers hold.
local DOWNLOADS, DOWNLOAD = 'fetch', 2 ^ 36
-- A paused session keeps its turns above those of all others, where no fetch takes them.
local PAUSED_OFFSET = 2 * BAND

-- All queues in their order.
local function queues()
  local names = {}
  for name in string.gmatch(ARGV[1], '[^,]+') do
    names[#names + 1] = name
  end
  return names
end

-- The number of a queue in that order; nil for a queue that this version does not know.
local function number_of(queue)
  local number = 1
  for name in string.gmatch(ARGV[1], '[^,]+') do
    if name == queue then
      return number
    end
    number = number + 1
  end
end

local function waiting_of(queue, size_class)
  return PREFIX .. 'waiting:' .. queue .. (size_class == 0 and ':small' or ':large')
end

local function turns_of(queue, size_class)
  return PREFIX .. 'turns:' .. queue .. (size_class == 0 and ':small' or ':large')
end

local function delayed_of(queue)
  return PREFIX .. 'delayed:' .. queue
end

local function dead_of(queue)
  return PREFIX .. 'dead:' .. queue
end

-- The time in ms, read once: the clock does not move during a script.
local moment
local function now()
  if not moment then
    local time = redis.call('TIME')
    moment = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  return moment
end

local function parse_info(text)
  local charge, size_class, expires, session = string.match(text, '^(%d+),([01]),(%d+),([^%z]*)$')
  if not charge then
    return parse_info(DEFAULT_INFO)
  end
  return {
    text = text, charge = tonumber(charge), size_class = tonumber(size_class), expires = expires, session = session
  }
end

local function join(info, message)
  return '\1' .. info.text .. '\0' .. message
end

-- The scheduling info and the message of a value in `messages`.
local function split(value)
  local ends = string.byte(value) == 1 and string.find(value, '\0', 2, true)
  if not ends then
    return parse_info(DEFAULT_INFO), value
  end
  return parse_info(string.sub(value, 2, ends - 1)), string.sub(value, ends + 1)
end

local function load_of(in_flight)
  return math.min(MAX_LOAD, math.floor(in_flight % DOWNLOAD / LOAD_STEP))
end

-- What a message of a queue changes in `flight`.
local function charge_of(queue, info)
  return info.charge + (queue == DOWNLOADS and DOWNLOAD or 0)
end

-- How many fields `paused` has: 0 if the pauses were not published to this Redis yet, 1 if nothing is paused. Read
-- once.
local pause_fields
local function pauses()
  pause_fields = pause_fields or redis.call('HLEN', PAUSED)
  return pause_fields
end

local function is_paused(kind, name)
  return pauses() > 1 and redis.call('HEXISTS', PAUSED, kind .. ':' .. name) == 1
end

-- What a turn begins with, by the first message of its session.
local BEGINNINGS = {[URGENT] = 0, [NOT_URGENT] = BAND, [LAST] = BAND + HISTORY_BAND}

local function turn_of(urgency, in_flight, since)
  return BEGINNINGS[urgency] + load_of(in_flight) * LOAD_UNIT + since % LOAD_UNIT
end

-- The urgency of a turn: that of its session's first message.
local function urgency_of(turn)
  local rest = turn % PAUSED_OFFSET
  return rest < BAND and URGENT or (rest < BEGINNINGS[LAST] and NOT_URGENT or LAST)
end

-- The same turn with another urgency.
local function with_urgency(turn, urgency)
  return turn - turn % PAUSED_OFFSET + BEGINNINGS[urgency] + turn % HISTORY_BAND
end

-- One letter for a queue and a size class. `standing` has for each session the letters where it has messages waiting.
local function mark_of(queue, size_class)
  return string.char(63 + number_of(queue) * 2 + size_class)
end

-- The queue and the size class of a mark, or of a text that begins with one.
local function split_mark(mark)
  local number = string.byte(mark) - 65
  return queues()[math.floor(number / 2) + 1], number % 2
end

local function add_turn(queue, size_class, session, turn)
  local marks, mark = redis.call('HGET', SESSION_MARKS, session) or '', mark_of(queue, size_class)
  if not string.find(marks, mark, 1, true) then
    redis.call('HSET', SESSION_MARKS, session, marks .. mark)
  end
  redis.call('ZADD', turns_of(queue, size_class), turn, session)
end

local function remove_turn(queue, size_class, session)
  local marks = string.gsub(redis.call('HGET', SESSION_MARKS, session) or '', mark_of(queue, size_class), '')
  if marks == '' then
    redis.call('HDEL', SESSION_MARKS, session)
  else
    redis.call('HSET', SESSION_MARKS, session, marks)
  end
  redis.call('ZREM', turns_of(queue, size_class), session)
end

-- Whether one session that is not paused has turns of this urgency or before it.
local function has_one_session(turns, urgency)
  if redis.call('ZCARD', turns) == 1 then
    return true
  end
  local limit = urgency == LAST and PAUSED_OFFSET or BEGINNINGS[LAST]
  return redis.call('ZCOUNT', turns, '-inf', string.format('(%.0f', limit)) == 1
end

local function urgency_at(info, ms)
  if info.expires == HISTORY then
    return LAST
  end
  local left = tonumber(info.expires) - ms
  return left <= URGENT_WITHIN and left > URGENT_UNTIL and URGENT or NOT_URGENT
end

-- Adds a message to those that wait, as the first or the last of its session and its urgency. Wakes sleeping workers if
-- no other session that is not paused waited there; those with history alone do not count, because workers may have
-- left them waiting.
local function push(queue, key, info, ms, first)
  local size_class, session = info.size_class, info.session
  local number = redis.call('INCR', POSITION)
  local urgency = urgency_at(info, ms)
  local position = string.format('%016.0f', first and MIDDLE - number or MIDDLE + number)
  local member = session .. '\0' .. urgency .. position .. key
  redis.call('ZADD', waiting_of(queue, size_class), 0, member)
  if tonumber(info.expires) - ms > URGENT_WITHIN then
    redis.call('ZADD', EXPIRING, info.expires, mark_of(queue, size_class) .. member)
  end
  local turns = turns_of(queue, size_class)
  local turn = tonumber(redis.call('ZSCORE', turns, session))
  if turn and (urgency_of(turn) < LAST or urgency == LAST) then
    if urgency < urgency_of(turn) then
      redis.call('ZADD', turns, with_urgency(turn, urgency), session)
    end
    return
  end
  local in_flight = tonumber(redis.call('HGET', IN_FLIGHT, session) or 0)
  local paused = is_paused('session', session)
  add_turn(queue, size_class, session, turn_of(urgency, in_flight, ms) + (paused and PAUSED_OFFSET or 0))
  if not paused and has_one_session(turns, urgency) then
    redis.call('PUBLISH', ARGV[2], queue)
  end
end

-- Changes what a session has in flight by an amount, and updates its turns except the one with the mark `except`;
-- returns what it has in flight.
local function add_in_flight(session, amount, except)
  local in_flight = redis.call('HINCRBY', IN_FLIGHT, session, amount)
  if in_flight <= 0 then
    redis.call('HDEL', IN_FLIGHT, session)
    in_flight = 0
  end
  local marks = redis.call('HGET', SESSION_MARKS, session)
  if not marks or marks == except then
    return in_flight
  end
  for mark in string.gmatch(marks, '.') do
    local turns = mark ~= except and turns_of(split_mark(mark))
    local turn = turns and tonumber(redis.call('ZSCORE', turns, session))
    if turn then
      local beginning = turn - turn % HISTORY_BAND
      redis.call('ZADD', turns, beginning + load_of(in_flight) * LOAD_UNIT + turn % LOAD_UNIT, session)
    end
  end
  return in_flight
end

local function add_dead_letter(queue, key, message, ms)
  redis.call('ZADD', dead_of(queue), ms, key)
  redis.call('HSET', DEAD_MESSAGES, key, message)
end

-- A value in `held`: `delivery id:queue:begun:priority:info`. Returns nothing for a value in another form.
local function unpack_held(value)
  local delivery_id, queue, begun, priority, info = string.match(value, '^(%d+):([^:]*):([^:]*):(-?%d+):(.*)$')
  if delivery_id then
    return delivery_id, queue, begun, tonumber(priority), parse_info(info)
  end
end
