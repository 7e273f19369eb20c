-- Ends deliveries: of each the acknowledgement, what comes next and the ledger's entry, all or nothing.
-- Does nothing for a delivery that is not held any more, so it may be sent again when its answer was lost.
--   KEYS  held by this worker, then for each shelf of the ledger: ids, entries
--   ARGV  how many shelves; for each: its entries' ms to live, most entries (-1: any), their longest age in ms (-1: any);
--         for each delivery: key, serial, verdict, message, delay in ms, queue that the message goes to,
--         its shelf's number (0 for none), ledger entry
--   verdict  next: onto the queue · later: onto the queue after the delay · back: to its session's front, as it was
--            done: off the belt · dead: off the belt, kept as a dead letter
--   returns for each 1, or 0 if the delivery was not held
local held, shelves = KEYS[OWN], tonumber(ARGV[4])
local keys, endings, answer = {}, {}, {}
for i = 5 + 3 * shelves, #ARGV, 8 do
  keys[#keys + 1] = ARGV[i]
  answer[#answer + 1] = 0
end

-- Those that are held, in their order; each delivery once.
local acknowledged, ended = {}, {}
for number, value in ipairs(redis.call('HMGET', held, unpack(keys))) do
  local i, key = 5 + 3 * shelves + (number - 1) * 8, keys[number]
  local serial, _, _, _, charged = unpack_held(value or '')
  if serial and serial == ARGV[i + 1] and not ended[key] then
    answer[number], ended[key] = 1, true
    acknowledged[#acknowledged + 1] = key
    endings[#endings + 1] = {
      key = key, verdict = ARGV[i + 2], message = ARGV[i + 3], delay = tonumber(ARGV[i + 4]), queue = ARGV[i + 5],
      shelf = tonumber(ARGV[i + 6]), entry = ARGV[i + 7], place = charged
    }
  end
end
if #endings == 0 then
  return answer
end
-- First, for a full Redis lets scripts go on that begin by giving memory back: all of this one, if it was full before it.
redis.call('HDEL', held, unpack(acknowledged))
local ms = now()

local given_back = {}
for _, ending in ipairs(endings) do
  if ending.place then
    given_back[ending.place.session] = (given_back[ending.place.session] or 0) + ending.place.charge
  end
end
for session, amount in pairs(given_back) do
  charge(session, -amount)
end

local function trim(index, entries, found)
  for i = 1, #found, 500 do
    local chunk = {unpack(found, i, math.min(i + 499, #found))}
    redis.call('ZREM', index, unpack(chunk))
    redis.call('HDEL', entries, unpack(chunk))
  end
end

local function keep(shelf, scores, texts)
  local index, entries = KEYS[OWN + 2 * shelf - 1], KEYS[OWN + 2 * shelf]
  local ttl, most, age = tonumber(ARGV[2 + 3 * shelf]), tonumber(ARGV[3 + 3 * shelf]), tonumber(ARGV[4 + 3 * shelf])
  redis.call('ZADD', index, unpack(scores))
  redis.call('HSET', entries, unpack(texts))
  if age < 0 or age > ttl then
    age = ttl
  end
  trim(index, entries, redis.call('ZRANGEBYSCORE', index, '-inf', '(' .. (ms - age)))
  if most >= 0 then
    trim(index, entries, redis.call('ZRANGE', index, 0, -most - 1))
  end
  redis.call('PEXPIRE', index, ttl)
  redis.call('PEXPIRE', entries, ttl)
end

local function keep_dead(ending)
  local dead = KEYS[find(ending.queue) + DEAD]
  bury(ending.queue, ending.key, ending.message, ms)
  trim(dead, DEAD_MESSAGES, redis.call('ZRANGEBYSCORE', dead, '-inf', '(' .. (ms - 7 * 86400 * 1000)))
  trim(dead, DEAD_MESSAGES, redis.call('ZRANGE', dead, 0, -10001))
end

local function go_on(ending)
  local place = ending.place or split(redis.call('HGET', MESSAGES, ending.key) or '')
  if ending.verdict == 'back' then
    put(ending.queue, ending.key, place, ms, true)
    return
  end
  redis.call('HSET', MESSAGES, ending.key, join(place, ending.message))
  if ending.verdict == 'next' then
    put(ending.queue, ending.key, place, ms)
  else
    redis.call('ZADD', KEYS[find(ending.queue) + DELAYED], ms + ending.delay, ending.key)
    redis.call('PUBLISH', ARGV[2], ending.queue) -- who sleeps longer than that: this worker may have no thread free then
  end
end

local off, unblamed, scores, texts = {}, {}, {}, {}
for shelf = 1, shelves do
  scores[shelf], texts[shelf] = {}, {}
end
for _, ending in ipairs(endings) do
  local verdict, noted, written = ending.verdict, scores[ending.shelf], texts[ending.shelf]
  if verdict == 'done' or verdict == 'dead' then
    off[#off + 1] = ending.key
  else
    go_on(ending)
  end
  if verdict == 'dead' then
    keep_dead(ending)
  end
  if verdict ~= 'later' and verdict ~= 'back' then -- another attempt is still the same work, and may still kill its worker
    unblamed[#unblamed + 1] = ending.key
  end
  if noted then
    noted[#noted + 1], noted[#noted + 2] = ms, ending.key
    written[#written + 1], written[#written + 2] = ending.key, ending.entry
  end
end
if #unblamed > 0 then
  redis.call('HDEL', CRASHES, unpack(unblamed))
end
if #off > 0 then
  redis.call('HDEL', MESSAGES, unpack(off))
end
for shelf = 1, shelves do
  if #scores[shelf] > 0 then
    keep(shelf, scores[shelf], texts[shelf])
  end
end
return answer
