-- Takes back what a dead worker held, to the front of its queues.
-- Everything that it held for the first time gets a crash against its name. What has one already gets another only if
-- the worker had begun with it: such messages run one at a time, so that no innocent is blamed with them.
--   KEYS  messages, crashes, workers, held by the dead worker, then the ready lists of the queues
--   ARGV  worker, ms of silence (0: it says itself that it has stopped), crash to count (1 or 0), channel, the queues
--   returns how many went back, or -1 if the worker is alive or gone
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local last = redis.call('ZSCORE', KEYS[3], ARGV[1])
if not last or ms - tonumber(last) < tonumber(ARGV[2]) then
  return -1
end
redis.call('ZREM', KEYS[3], ARGV[1])
local ready = {}
for i = 5, #ARGV do
  ready[ARGV[i]] = KEYS[i]
end
local back = 0
local held = redis.call('HGETALL', KEYS[4])
for i = 1, #held, 2 do
  local key = held[i]
  local queue, begun = string.match(held[i + 1], '^%d+:([^:]*):?(.*)$')
  if redis.call('HEXISTS', KEYS[1], key) == 1 then
    if ARGV[3] == '1' and (begun ~= '' or redis.call('HEXISTS', KEYS[2], key) == 0) then
      redis.call('HINCRBY', KEYS[2], key, 1)
    end
    -- A queue that only a newer version knows: the message names its actor, so any queue delivers it.
    redis.call('LPUSH', ready[queue] or KEYS[5], key)
    redis.call('PUBLISH', ARGV[4], queue)
    back = back + 1
  end
end
redis.call('DEL', KEYS[4])
return back
