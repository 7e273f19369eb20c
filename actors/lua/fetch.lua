-- Hands messages to a worker, from the given queues in their order: urgent ones before the others, large ones first as
-- long as the worker takes any, and of those alike the session's whose turn it is. What is due moves up before.
-- Paused queues are passed over, and so are paused sessions: no turn of theirs comes up.
--   KEYS  workers, held by this worker
--   ARGV  worker, how many, how many large ones of these, 1 if the worker wants nothing from a Redis that does not know
--         what is paused, then the queues
--   returns {ms until the next delayed message or -1, {key, serial, crashes, queue, message, lane, turn, session}, …},
--           or {-2} if it does not know what is paused, as after a wipe.
--           Lower turns are to run first: a session that has little in flight overtakes what was handed out before.
local workers, held = KEYS[OWN], KEYS[OWN + 1]
if ARGV[7] == '1' and pauses() == 0 then
  return {-2}
end
local wanted, wanted_large = tonumber(ARGV[5]), tonumber(ARGV[6])
local patience = 250 -- with what turns out to be nothing: the next fetch goes on with that
local ms = now()
local answer = {-1}

local function put_known(queue, key, first)
  local value = redis.call('HGET', MESSAGES, key)
  if value then
    put(queue, key, split(value), ms, first)
  else -- not put here by us
    bury(queue, key, '', ms)
  end
end

local function promote(queue, q)
  local delayed = KEYS[q + DELAYED]
  local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  if first[2] and tonumber(first[2]) <= ms then
    local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', ms, 'LIMIT', 0, 1000)
    for i = #due, 1, -1 do -- each to its session's front, the longest due first: they have waited in a queue before
      redis.call('ZREM', delayed, due[i])
      put_known(queue, due[i], true)
    end
    first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  end
  if first[2] and (answer[1] < 0 or tonumber(first[2]) - ms < answer[1]) then
    answer[1] = math.max(0, tonumber(first[2]) - ms)
  end
end

local function move_from_list(queue, q)
  local list = KEYS[q + LIST]
  for _ = 1, math.min(1000, redis.call('LLEN', list)) do
    put_known(queue, redis.call('LPOP', list))
  end
end

-- What has come to expire within the hour while it waited goes before what has not.
local function hurry()
  local first = redis.call('ZRANGE', PERISHABLE, 0, 0, 'WITHSCORES')
  if not first[2] or tonumber(first[2]) > ms + SOON then
    return
  end
  for _, found in ipairs(redis.call('ZRANGEBYSCORE', PERISHABLE, '-inf', ms + SOON, 'LIMIT', 0, 1000)) do
    redis.call('ZREM', PERISHABLE, found)
    local q, lane = lane_of(found)
    local session, rest = string.match(found, '^.([^%z]*)%z.(.*)$')
    if redis.call('ZREM', KEYS[q + WAITING + lane], string.sub(found, 2)) == 1 then
      redis.call('ZADD', KEYS[q + WAITING + lane], 0, session .. '\0' .. URGENT .. rest)
      local turn = tonumber(redis.call('ZSCORE', KEYS[q + TURNS + lane], session))
      if turn then
        redis.call('ZADD', KEYS[q + TURNS + lane], hurried(turn), session)
      end
    end
  end
end

local function is_urgent(member, session)
  return string.sub(member, #session + 2, #session + 2) == URGENT
end

-- Gives a message to the worker. Garbage becomes a dead letter instead.
local function hand_over(queue, key, lane, urgent, mark)
  local value = redis.call('HGET', MESSAGES, key)
  if not value then
    bury(queue, key, '', ms)
    return
  end
  if redis.call('HEXISTS', held, key) == 1 then -- waits twice, as after parts of the belt were lost
    return
  end
  local place, message = split(value)
  local serial = redis.call('INCR', SERIAL)
  local flight = charge(place.session, place.charge, mark)
  local turn = serial + rank(flight - place.charge) - (urgent and RANK or 0)
  redis.call('HSET', held, key, string.format('%.0f:%s::%.0f:%s', serial, queue, turn, place.text))
  local crashes = tonumber(redis.call('HGET', CRASHES, key) or 0)
  answer[#answer + 1] = {key, serial, crashes, queue, message, lane, turn, place.session}
  wanted, wanted_large = wanted - 1, wanted_large - lane
  return flight
end

-- Takes the first message of a session out of its lane.
local function take(queue, q, lane, session)
  local waiting = KEYS[q + WAITING + lane]
  local found = redis.call('ZRANGEBYLEX', waiting, '[' .. session .. '\0', '(' .. session .. '\1', 'LIMIT', 0, 2)
  local member, following = found[1], found[2]
  if not following then
    leave(q, lane, session)
  end
  if not member then
    patience = patience - 1
    return
  end
  local mark, urgent = mark_of(q, lane), is_urgent(member, session)
  redis.call('ZREM', waiting, member)
  if not urgent then
    redis.call('ZREM', PERISHABLE, mark .. member)
  end
  local flight = hand_over(queue, string.sub(member, #session + 19), lane, urgent, mark)
  if not flight then
    patience = patience - 1
  end
  if following then
    flight = flight or tonumber(redis.call('HGET', FLIGHT, session) or 0)
    redis.call('ZADD', KEYS[q + TURNS + lane], turn_of(is_urgent(following, session), flight, ms), session)
  end
end

-- The session whose turn it is in a lane, and whether it is urgent.
local function next_in(q, lane)
  local first = redis.call('ZRANGE', KEYS[q + TURNS + lane], 0, 0, 'WITHSCORES')
  local turn = tonumber(first[2])
  if turn and turn < ASIDE then
    return first[1], turn < BAND
  end
end

local function serve(queue, q)
  local small, small_urgent = next_in(q, 0)
  local large, large_urgent = next_in(q, 1)
  while wanted > 0 and patience > 0 do
    if large and wanted_large > 0 and not (small and small_urgent and not large_urgent) then
      take(queue, q, 1, large)
      large, large_urgent = next_in(q, 1)
    elseif small then
      take(queue, q, 0, small)
      small, small_urgent = next_in(q, 0)
    else
      return
    end
  end
end

-- The reaper finds held messages through this set alone, so whoever holds any must stand in it.
-- A full Redis refuses scripts that begin with a write that needs memory, and fetching is what makes it emptier.
redis.call('ZREM', workers, ARGV[4])
redis.call('ZADD', workers, ms, ARGV[4])
hurry()
for i = 8, #ARGV do
  local q = find(ARGV[i])
  promote(ARGV[i], q)
  move_from_list(ARGV[i], q)
  if not is_paused('stage', ARGV[i]) then
    serve(ARGV[i], q)
  end
end
if patience <= 0 then
  answer[1] = 0
end
return answer
