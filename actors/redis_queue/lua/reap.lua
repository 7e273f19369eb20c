-- Takes back what a dead worker held, to its sessions' fronts in the order in which it was handed out.
-- Everything that it held for the first time gets a crash against its name. What has one already gets another only if
-- the worker had begun with it: such messages run one at a time, so that no innocent is blamed with them.
--   KEYS  workers, held by the dead worker
--   ARGV  worker, ms of silence (0: it says itself that it has stopped), crash to count (1 or 0), any queue
--   returns how many went back, or -1 if the worker is alive or gone
local workers, held = KEYS[OWN], KEYS[OWN + 1]
local ms = now()
local last = redis.call('ZSCORE', workers, ARGV[4])
if not last or ms - tonumber(last) < tonumber(ARGV[5]) then
  return -1
end
redis.call('ZREM', workers, ARGV[4])
local found = redis.call('HGETALL', held)
redis.call('DEL', held)
local deliveries = {}
for i = 1, #found, 2 do
  local serial, queue, begun, _, charged = unpack_held(found[i + 1])
  deliveries[#deliveries + 1] = {
    key = found[i], serial = tonumber(serial) or 0, queue = queue, begun = begun ~= '', charged = charged
  }
end
table.sort(deliveries, function(one, other) return one.serial > other.serial end)
local back = 0
for _, held_one in ipairs(deliveries) do
  local key = held_one.key
  if held_one.charged then
    charge(held_one.charged.session, -held_one.charged.charge)
  end
  local value = redis.call('HGET', MESSAGES, key)
  if value then
    if ARGV[6] == '1' and (held_one.begun or redis.call('HEXISTS', CRASHES, key) == 0) then
      redis.call('HINCRBY', CRASHES, key, 1)
    end
    -- A queue that only a newer version knows: the message names its actor, so any queue delivers it.
    put(number_of(held_one.queue) and held_one.queue or ARGV[7], key, split(value), ms, true)
    back = back + 1
  end
end
return back
