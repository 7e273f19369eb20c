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

local function promote(queue)
  local delayed = delayed_of(queue)
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

local function move_from_list(queue)
  local list = list_of(queue)
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
    local queue, lane = lane_of(found)
    local waiting, turns = waiting_of(queue, lane), turns_of(queue, lane)
    local session, rest = string.match(found, '^.([^%z]*)%z.(.*)$')
    if redis.call('ZREM', waiting, string.sub(found, 2)) == 1 then
      redis.call('ZADD', waiting, 0, session .. '\0' .. URGENT .. rest)
      local turn = tonumber(redis.call('ZSCORE', turns, session))
      if turn then
        redis.call('ZADD', turns, hurried(turn), session)
      end
    end
  end
end

local function is_urgent(member, session)
  return string.sub(member, #session + 2, #session + 2) == URGENT
end

-- The next number of a delivery; they are taken from Redis once, and some may be left over.
local last_serial
local function next_serial()
  if not last_serial then
    last_serial = redis.call('INCRBY', SERIAL, wanted) - wanted
  end
  last_serial = last_serial + 1
  return last_serial
end

local blamed
local function crashes_of(key)
  blamed = blamed or redis.call('HLEN', CRASHES)
  return blamed > 0 and tonumber(redis.call('HGET', CRASHES, key)) or 0
end

-- Gives a message to the worker. Garbage becomes a dead letter instead.
local handed, unhurried = {}, {} -- written all at once
local function hand_over(queue, key, lane, urgent, mark)
  local value = redis.call('HGET', MESSAGES, key)
  if not value then
    bury(queue, key, '', ms)
    return
  end
  if handed[key] or redis.call('HEXISTS', held, key) == 1 then -- waits twice, as after parts of the belt were lost
    return
  end
  local place, message = split(value)
  local serial = next_serial()
  local flight = charge(place.session, place.charge, mark)
  local turn = serial + rank(flight - place.charge) - (urgent and RANK or 0)
  handed[key], handed[#handed + 1] = true, key
  handed[#handed + 1] = string.format('%.0f:%s::%.0f:%s', serial, queue, turn, place.text)
  answer[#answer + 1] = {key, serial, crashes_of(key), queue, message, lane, turn, place.session}
  wanted, wanted_large = wanted - 1, wanted_large - lane
  return flight
end

-- What is taken leaves its lane when all is; until then the next one of its session stands behind it.
local leaving, passed = {}, {}
local function pass(waiting, session, member)
  local place = waiting .. session
  leaving[waiting] = leaving[waiting] or {}
  leaving[waiting][#leaving[waiting] + 1] = member
  passed[place] = (passed[place] or 0) + 1
end

-- Takes the first message of a session out of its lane.
local function take(queue, lane, session)
  local waiting = waiting_of(queue, lane)
  local from, to, skip = '[' .. session .. '\0', '(' .. session .. '\1', passed[waiting .. session] or 0
  local found = redis.call('ZRANGEBYLEX', waiting, from, to, 'LIMIT', skip, 2)
  local member, following = found[1], found[2]
  if not following then
    leave(queue, lane, session)
  end
  if not member then
    patience = patience - 1
    return
  end
  local mark, urgent = mark_of(queue, lane), is_urgent(member, session)
  pass(waiting, session, member)
  if not urgent then
    unhurried[#unhurried + 1] = mark .. member
  end
  local flight = hand_over(queue, string.sub(member, #session + 19), lane, urgent, mark)
  if not flight then
    patience = patience - 1
  end
  if following then
    flight = flight or tonumber(redis.call('HGET', FLIGHT, session) or 0)
    redis.call('ZADD', turns_of(queue, lane), turn_of(is_urgent(following, session), flight, ms), session)
  end
end

-- The session whose turn it is in a lane, and whether it is urgent.
local function next_in(queue, lane)
  local first = redis.call('ZRANGE', turns_of(queue, lane), 0, 0, 'WITHSCORES')
  local turn = tonumber(first[2])
  if turn and turn < ASIDE then
    return first[1], turn < BAND
  end
end

local function serve(queue)
  local small, small_urgent = next_in(queue, 0)
  local large, large_urgent = next_in(queue, 1)
  while wanted > 0 and patience > 0 do
    if large and wanted_large > 0 and not (small and small_urgent and not large_urgent) then
      take(queue, 1, large)
      large, large_urgent = next_in(queue, 1)
    elseif small then
      take(queue, 0, small)
      small, small_urgent = next_in(queue, 0)
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
  local queue = ARGV[i]
  -- Most queues are empty, and one question tells.
  if redis.call('EXISTS', delayed_of(queue), list_of(queue), turns_of(queue, 0), turns_of(queue, 1)) > 0 then
    promote(queue)
    move_from_list(queue)
    if not is_paused('stage', queue) then
      serve(queue)
    end
  end
end
for waiting, members in pairs(leaving) do
  redis.call('ZREM', waiting, unpack(members))
end
if #handed > 0 then
  redis.call('HSET', held, unpack(handed))
end
if #unhurried > 0 then
  redis.call('ZREM', PERISHABLE, unpack(unhurried))
end
if patience <= 0 then
  answer[1] = 0
end
return answer
