-- Hands messages to a worker, from the given queues in their order: urgent ones before the others, large ones first as
-- long as the worker takes any, and of those alike the session's whose turn it is. What is due moves up before.
--   KEYS  workers, held by this worker
--   ARGV  worker, how many, how many large ones of these, then the queues
--   returns {ms until the next delayed message or -1, {key, serial, crashes, queue, message, lane, turn}, …}
--           Lower turns are to run first: a session that has little in flight overtakes what was handed out before.
local workers, held = KEYS[OWN], KEYS[OWN + 1]
local wanted, wanted_large = tonumber(ARGV[4]), tonumber(ARGV[5])
local ms = now()
local next_due = -1
local answer = {next_due}

local function put_known(queue, key, first)
  local value = redis.call('HGET', MESSAGES, key)
  if value then
    put(queue, key, split(value), ms, first)
  else -- not put here by us
    bury(queue, key, '', ms)
  end
end

local function promote(queue)
  local delayed = KEYS[QUEUES[queue] + DELAYED]
  local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  if first[2] and tonumber(first[2]) <= ms then
    local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', ms, 'LIMIT', 0, 1000)
    for i = #due, 1, -1 do -- each to its session's front, the longest due first: they have waited in a queue before
      redis.call('ZREM', delayed, due[i])
      put_known(queue, due[i], true)
    end
    first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  end
  if first[2] and (next_due < 0 or tonumber(first[2]) - ms < next_due) then
    next_due = math.max(0, tonumber(first[2]) - ms)
  end
end

local function move_from_list(queue)
  local list = KEYS[QUEUES[queue] + LIST]
  for _ = 1, math.min(1000, redis.call('LLEN', list)) do
    put_known(queue, redis.call('LPOP', list))
  end
end

local function hurry(queue)
  local q = QUEUES[queue]
  local first = redis.call('ZRANGE', KEYS[q + EXPIRING], 0, 0, 'WITHSCORES')
  if not first[2] or tonumber(first[2]) > ms + SOON then
    return
  end
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[q + EXPIRING], '-inf', ms + SOON, 'LIMIT', 0, 1000)) do
    redis.call('ZREM', KEYS[q + EXPIRING], member)
    local session, place = string.match(member, '^([^%z]*)%z.(.*)$')
    for lane = 0, 1 do
      if redis.call('ZREM', KEYS[q + WAITING + lane], member) == 1 then
        redis.call('ZADD', KEYS[q + WAITING + lane], 0, session .. '\0' .. URGENT .. place)
        local turn = tonumber(redis.call('ZSCORE', KEYS[q + TURNS + lane], session))
        redis.call('ZADD', KEYS[q + TURNS + lane], (turn or 0) % BAND, session)
      end
    end
  end
end

-- Takes the first message of a session out of its lane; nil if it was not put there by us.
local function take(queue, lane, session)
  local q = QUEUES[queue]
  local waiting, turns = KEYS[q + WAITING + lane], KEYS[q + TURNS + lane]
  local found = redis.call('ZRANGEBYLEX', waiting, '[' .. session .. '\0', '(' .. session .. '\1', 'LIMIT', 0, 2)
  local member, following = found[1], found[2]
  if not member then
    redis.call('ZREM', turns, session)
    return nil
  end
  redis.call('ZREM', waiting, member)
  if following then
    local urgent = string.sub(following, #session + 2, #session + 2) == URGENT
    redis.call('ZADD', turns, (urgent and 0 or BAND) + redis.call('INCR', POSITION) % RANK, session)
  else
    redis.call('ZREM', turns, session)
  end
  local urgent, key = string.sub(member, #session + 2, #session + 2) == URGENT, string.sub(member, #session + 19)
  local value = redis.call('HGET', MESSAGES, key)
  if not value then
    redis.call('ZREM', KEYS[q + EXPIRING], member)
    bury(queue, key, '', ms)
    return nil
  end
  local place, message = split(value)
  if place.expires > 0 and not urgent then
    redis.call('ZREM', KEYS[q + EXPIRING], member)
  end
  local serial = redis.call('INCR', SERIAL)
  local turn = serial + rank(tonumber(redis.call('HGET', FLIGHT, session) or 0)) - (urgent and RANK or 0)
  charge(place.session, place.charge)
  redis.call('HSET', held, key, string.format('%.0f:%s::%.0f:%s', serial, queue, turn, place.text))
  local crashes = tonumber(redis.call('HGET', CRASHES, key) or 0)
  return {key, serial, crashes, queue, message, lane, turn}
end

local function take_all(queue, lane, urgent)
  local turns = KEYS[QUEUES[queue] + TURNS + lane]
  while wanted > 0 and (lane == 0 or wanted_large > 0) do
    local next_one = redis.call('ZRANGE', turns, 0, 0, 'WITHSCORES')
    if not next_one[1] or (urgent and tonumber(next_one[2]) >= BAND) then
      return
    end
    local handed = take(queue, lane, next_one[1])
    if handed then
      answer[#answer + 1] = handed
      wanted, wanted_large = wanted - 1, wanted_large - lane
    end
  end
end

-- The reaper finds held messages through this set alone, so whoever holds any must stand in it.
-- A full Redis refuses scripts that begin with a write that needs memory, and fetching is what makes it emptier.
redis.call('ZREM', workers, ARGV[3])
redis.call('ZADD', workers, ms, ARGV[3])
for i = 6, #ARGV do
  local queue = ARGV[i]
  promote(queue)
  move_from_list(queue)
  hurry(queue)
  for lane = 1, 0, -1 do
    take_all(queue, lane, true)
  end
  for lane = 1, 0, -1 do
    take_all(queue, lane, false)
  end
end
answer[1] = next_due
return answer
