-- Gives messages to a worker, from the given queues in their order: urgent messages before others, those of the history
-- last, large ones first as long as the worker takes any, and among equals the session with the lowest turn. Delayed
-- messages that are due move up first. Paused queues are skipped, and so are paused sessions: their turns never come up.
--   KEYS  workers, held by this worker
-- A session at a limit of its downloads gets no message of the queue `fetch`; the next session has its turn.
--   ARGV  worker, how many messages, how many large ones among them, 1 to return {-2, 0} if the pauses were not
--         published to this Redis (as after a wipe), how many downloads of one session all workers may hold, how many
--         this worker, and how many large ones this worker (0: any number), how many messages of the history, how many
--         sessions follow; for each: its name, the downloads that count for this worker, the large ones among them;
--         then the queues
--   returns {ms until the next delayed message or -1, 1 if a session or the history was at its limit else 0,
--            {key, delivery id, crashes, queue, message, size class, priority, session, 1 if of the history}, …}
--           Messages with lower priorities run first: a session with little in flight overtakes what was fetched
--           before.
local workers, held = KEYS[OWN], KEYS[OWN + 1]
if ARGV[7] == '1' and pauses() == 0 then
  return {-2, 0}
end
local wanted, wanted_large = tonumber(ARGV[5]), tonumber(ARGV[6])
local misses_left = 250 -- entries without a message that one fetch skips; the next fetch goes on with the rest
local ms = now()
local answer = {-1, 0}
local total_limit, worker_limit, worker_large_limit = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local wanted_history = tonumber(ARGV[11])
local sessions, downloads_here, large_here = tonumber(ARGV[12]), {}, {}
for i = 13, 10 + 3 * sessions, 3 do
  downloads_here[ARGV[i]], large_here[ARGV[i]] = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
end

local function push_due(queue, key)
  local value = redis.call('HGET', MESSAGES, key)
  if value then
    push(queue, key, split(value), ms, true)
  else -- no command of the queue leaves a key without its message
    add_dead_letter(queue, key, '', ms)
  end
end

local function promote(queue)
  local delayed = delayed_of(queue)
  local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  if first[2] and tonumber(first[2]) <= ms then
    local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', ms, 'LIMIT', 0, 1000)
    for i = #due, 1, -1 do -- to the front of their sessions, the longest due first: they have waited in a queue before
      redis.call('ZREM', delayed, due[i])
      push_due(queue, due[i])
    end
    first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  end
  if first[2] and (answer[1] < 0 or tonumber(first[2]) - ms < answer[1]) then
    answer[1] = math.max(0, tonumber(first[2]) - ms)
  end
end

-- Messages whose source has come to expire within the hour while they waited become urgent.
local function make_expiring_urgent()
  local first = redis.call('ZRANGE', EXPIRING, 0, 0, 'WITHSCORES')
  if not first[2] or tonumber(first[2]) > ms + URGENT_WITHIN then
    return
  end
  for _, row in ipairs(redis.call('ZRANGEBYSCORE', EXPIRING, '-inf', ms + URGENT_WITHIN, 'LIMIT', 0, 1000)) do
    redis.call('ZREM', EXPIRING, row)
    local queue, size_class = split_mark(row)
    local waiting, turns = waiting_of(queue, size_class), turns_of(queue, size_class)
    local session, rest = string.match(row, '^.([^%z]*)%z.(.*)$')
    if redis.call('ZREM', waiting, string.sub(row, 2)) == 1 then
      redis.call('ZADD', waiting, 0, session .. '\0' .. URGENT .. rest)
      local turn = tonumber(redis.call('ZSCORE', turns, session))
      if turn then
        redis.call('ZADD', turns, with_urgency(turn, URGENT), session)
      end
    end
  end
end

local function urgency_in(member, session)
  return string.sub(member, #session + 2, #session + 2)
end

-- Delivery ids are reserved in Redis once per fetch; some of them may stay unused.
local last_id
local function next_delivery_id()
  if not last_id then
    last_id = redis.call('INCRBY', SERIAL, wanted) - wanted
  end
  last_id = last_id + 1
  return last_id
end

local crashed
local function crashes_of(key)
  crashed = crashed or redis.call('HLEN', CRASHES)
  return crashed > 0 and tonumber(redis.call('HGET', CRASHES, key)) or 0
end

-- Gives a message to the worker and returns what its session has in flight then. A key without a message becomes a dead
-- letter instead.
local given, not_urgent = {}, {} -- both are written with one command at the end
local function give(queue, key, size_class, urgency, mark)
  local value = redis.call('HGET', MESSAGES, key)
  if not value then
    add_dead_letter(queue, key, '', ms)
    return
  end
  if given[key] or redis.call('HEXISTS', held, key) == 1 then -- it waits twice, as after an eviction
    return
  end
  local info, message = split(value)
  local delivery_id = next_delivery_id()
  local in_flight = add_in_flight(info.session, charge_of(queue, info), mark)
  if queue == DOWNLOADS then
    downloads_here[info.session] = (downloads_here[info.session] or 0) + 1
    large_here[info.session] = (large_here[info.session] or 0) + size_class
  end
  local of_history = urgency == LAST
  local shift = urgency == URGENT and -LOAD_UNIT or (of_history and LOAD_UNIT or 0)
  local priority = delivery_id + load_of(in_flight - info.charge) + shift
  given[key], given[#given + 1] = true, key
  given[#given + 1] = string.format('%.0f:%s::%.0f:%s', delivery_id, queue, priority, info.text)
  answer[#answer + 1] = {
    key, delivery_id, crashes_of(key), queue, message, size_class, priority, info.session, of_history and 1 or 0
  }
  wanted, wanted_large = wanted - 1, wanted_large - size_class
  wanted_history = wanted_history - (of_history and 1 or 0)
  return in_flight
end

-- Fetched members leave the sorted set at the end, with one command; until then they are skipped.
local leaving, skipped = {}, {}
local function skip(waiting, session, member)
  local place = waiting .. session
  leaving[waiting] = leaving[waiting] or {}
  leaving[waiting][#leaving[waiting] + 1] = member
  skipped[place] = (skipped[place] or 0) + 1
end

local function take_first_of(queue, size_class, session)
  local waiting = waiting_of(queue, size_class)
  local from, to, offset = '[' .. session .. '\0', '(' .. session .. '\1', skipped[waiting .. session] or 0
  local members = redis.call('ZRANGEBYLEX', waiting, from, to, 'LIMIT', offset, 2)
  local member, following = members[1], members[2]
  if not following then
    remove_turn(queue, size_class, session)
  end
  if not member then
    misses_left = misses_left - 1
    return
  end
  local mark, urgency = mark_of(queue, size_class), urgency_in(member, session)
  skip(waiting, session, member)
  if urgency == NOT_URGENT then
    not_urgent[#not_urgent + 1] = mark .. member
  end
  local in_flight = give(queue, string.sub(member, #session + 19), size_class, urgency, mark)
  if not in_flight then
    misses_left = misses_left - 1
  end
  if following then
    in_flight = in_flight or tonumber(redis.call('HGET', IN_FLIGHT, session) or 0)
    local turn = turn_of(urgency_in(following, session), in_flight, ms)
    redis.call('ZADD', turns_of(queue, size_class), turn, session)
  end
end

-- Whether a session may get no more downloads of this size class.
local function is_full(session, size_class)
  local full = (worker_limit > 0 and (downloads_here[session] or 0) >= worker_limit)
    or (size_class == 1 and worker_large_limit > 0 and (large_here[session] or 0) >= worker_large_limit)
  if not full and total_limit > 0 then
    local in_flight = tonumber(redis.call('HGET', IN_FLIGHT, session) or 0)
    full = math.floor(in_flight / DOWNLOAD) >= total_limit
  end
  if full then
    answer[2] = 1
  end
  return full
end

-- The session with the lowest turn that is not paused and not at its limit, and its urgency. The sessions at their limit
-- are fewer than the messages that workers hold.
local function next_session(queue, size_class)
  local turns, index = turns_of(queue, size_class), 0
  while true do
    local row = redis.call('ZRANGE', turns, index, index, 'WITHSCORES')
    local session, turn = row[1], tonumber(row[2])
    if not turn or turn >= PAUSED_OFFSET then
      return
    end
    if queue ~= DOWNLOADS or not is_full(session, size_class) then
      return session, urgency_of(turn)
    end
    index = index + 1
  end
end

-- The session, unless only history waits there and the worker takes no more of it.
local function may_take(session, urgency)
  if session and urgency == LAST and wanted_history <= 0 then
    answer[2] = 1
    return
  end
  return session
end

local function take_from(queue)
  local small, small_urgency = next_session(queue, 0)
  local large, large_urgency = next_session(queue, 1)
  while wanted > 0 and misses_left > 0 do
    small, large = may_take(small, small_urgency), may_take(large, large_urgency)
    if large and wanted_large > 0 and not (small and small_urgency < large_urgency) then
      take_first_of(queue, 1, large)
      large, large_urgency = next_session(queue, 1)
    elseif small then
      take_first_of(queue, 0, small)
      small, small_urgency = next_session(queue, 0)
    else
      return
    end
  end
end

-- The reaper finds held messages only through `workers`, so a worker that holds any must be in it.
-- ZREM comes first: a full Redis refuses a script whose first write needs memory, and fetching is what empties it.
redis.call('ZREM', workers, ARGV[4])
redis.call('ZADD', workers, ms, ARGV[4])
make_expiring_urgent()
for i = 13 + 3 * sessions, #ARGV do
  local queue = ARGV[i]
  -- Most queues are empty, and one command shows it.
  if redis.call('EXISTS', delayed_of(queue), turns_of(queue, 0), turns_of(queue, 1)) > 0 then
    promote(queue)
    if not is_paused('stage', queue) then
      take_from(queue)
    end
  end
end
for waiting, members in pairs(leaving) do
  redis.call('ZREM', waiting, unpack(members))
end
if #given > 0 then
  redis.call('HSET', held, unpack(given))
end
if #not_urgent > 0 then
  redis.call('ZREM', EXPIRING, unpack(not_urgent))
end
if misses_left <= 0 then
  answer[1] = 0
end
return answer
