-- Ends deliveries: of each the acknowledgement, what comes next and the ledger's entry, all or nothing.
-- Does nothing for a delivery that is not held any more, so it may be sent again when its answer was lost.
--   KEYS  held by this worker, then for each shelf of the ledger: ids, entries
--   ARGV  how many shelves; for each: its entries' ms to live, most entries (-1: any), their longest age in ms (-1: any);
--         for each delivery: key, serial, verdict, message, delay in ms, queue that the message goes to,
--         its shelf's number (0 for none), ledger entry
--   verdict  next: onto the queue · later: onto the queue after the delay · back: to its session's front, as it was
--            done: off the belt · dead: off the belt, kept as a dead letter
--   returns for each 1, or 0 if the delivery was not held
local held, shelves, EACH = KEYS[OWN], tonumber(ARGV[4]), 8
local first = 5 + 3 * shelves
local keys = {}
for i = first, #ARGV, EACH do
  keys[#keys + 1] = ARGV[i]
end

-- Where in ARGV those stand that are held, each once; what they were charged, and their sessions in all.
local endings, acknowledged, place_of, given_back, answer = {}, {}, {}, {}, {}
local found = redis.call('HMGET', held, unpack(keys))
for number = 1, #keys do
  local i, key = first + (number - 1) * EACH, keys[number]
  local serial, _, _, _, charged = unpack_held(found[number] or '')
  answer[number] = 0
  if serial == ARGV[i + 1] and not acknowledged[key] then
    answer[number], acknowledged[key], acknowledged[#acknowledged + 1], endings[#endings + 1] = 1, true, key, i
    if charged then
      place_of[i] = charged
      given_back[charged.session] = (given_back[charged.session] or 0) + charged.charge
    end
  end
end
if #endings == 0 then
  return answer
end
-- First, for a full Redis lets scripts go on that begin by giving memory back, and asks no second time within a script.
redis.call('HDEL', held, unpack(acknowledged))
local ms = now()
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

local function keep(shelf, noted, written)
  local index, entries = KEYS[OWN + 2 * shelf - 1], KEYS[OWN + 2 * shelf]
  local ttl, most, age = tonumber(ARGV[2 + 3 * shelf]), tonumber(ARGV[3 + 3 * shelf]), tonumber(ARGV[4 + 3 * shelf])
  redis.call('ZADD', index, unpack(noted))
  redis.call('HSET', entries, unpack(written))
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

local function keep_dead(key, message, queue)
  local dead = dead_of(queue)
  bury(queue, key, message, ms)
  trim(dead, DEAD_MESSAGES, redis.call('ZRANGEBYSCORE', dead, '-inf', '(' .. (ms - 7 * 86400 * 1000)))
  trim(dead, DEAD_MESSAGES, redis.call('ZRANGE', dead, 0, -10001))
end

local function go_on(i, key, verdict, queue)
  local place = place_of[i] or split(redis.call('HGET', MESSAGES, key) or '')
  if verdict == 'back' then
    put(queue, key, place, ms, true)
    return
  end
  redis.call('HSET', MESSAGES, key, join(place, ARGV[i + 3]))
  if verdict == 'next' then
    put(queue, key, place, ms)
  else
    redis.call('ZADD', delayed_of(queue), ms + tonumber(ARGV[i + 4]), key)
    redis.call('PUBLISH', ARGV[2], queue) -- for whoever sleeps longer than that: this worker may have no thread free then
  end
end

local off, unblamed, scores, texts = {}, {}, {}, {}
local stamp = string.format('%.0f', ms)
for number = 1, #endings do
  local i, key = endings[number], acknowledged[number]
  local verdict, queue, shelf = ARGV[i + 2], ARGV[i + 5], tonumber(ARGV[i + 6])
  if verdict == 'done' or verdict == 'dead' then
    off[#off + 1] = key
  else
    go_on(i, key, verdict, queue)
  end
  if verdict == 'dead' then
    keep_dead(key, ARGV[i + 3], queue)
  end
  if verdict ~= 'later' and verdict ~= 'back' then -- another attempt is still the same work, and may still kill its worker
    unblamed[#unblamed + 1] = key
  end
  if shelf > 0 then
    local noted, written = scores[shelf] or {}, texts[shelf] or {}
    scores[shelf], texts[shelf] = noted, written
    noted[#noted + 1], noted[#noted + 2] = stamp, key
    written[#written + 1], written[#written + 2] = key, ARGV[i + 7]
  end
end
if #unblamed > 0 then
  redis.call('HDEL', CRASHES, unpack(unblamed))
end
if #off > 0 then
  redis.call('HDEL', MESSAGES, unpack(off))
end
for shelf, noted in pairs(scores) do
  keep(shelf, noted, texts[shelf])
end
return answer
