-- Takes back what a dead worker held: to the front of each session, in the order in which it was fetched.
-- A message that has no crash yet gets one. A message that has crashes gets another one only if the worker had started
-- on it: such messages run one at a time, so no other message is counted with it.
--   KEYS  workers, held by the dead worker
--   ARGV  worker, ms of silence (0: the worker stops itself), whether to count a crash (1 or 0), the first queue
--   returns how many messages were taken back, or -1 if the worker is alive or already removed
local workers, held = KEYS[OWN], KEYS[OWN + 1]
local ms = now()
local last = redis.call('ZSCORE', workers, ARGV[4])
if not last or ms - tonumber(last) < tonumber(ARGV[5]) then
  return -1
end
redis.call('ZREM', workers, ARGV[4])
local rows = redis.call('HGETALL', held)
redis.call('DEL', held)
local deliveries = {}
for i = 1, #rows, 2 do
  local delivery_id, queue, begun, _, info = unpack_held(rows[i + 1])
  deliveries[#deliveries + 1] = {
    key = rows[i], id = tonumber(delivery_id) or 0, queue = queue, begun = begun == 'begun', info = info
  }
end
table.sort(deliveries, function(left, right) return left.id > right.id end)
local taken_back = 0
for _, delivery in ipairs(deliveries) do
  local key = delivery.key
  if delivery.info then
    add_in_flight(delivery.info.session, -charge_of(delivery.queue, delivery.info))
  end
  local value = redis.call('HGET', MESSAGES, key)
  if value then
    if ARGV[6] == '1' and (delivery.begun or redis.call('HEXISTS', CRASHES, key) == 0) then
      redis.call('HINCRBY', CRASHES, key, 1)
    end
    -- A queue that only a newer version knows: the message names its actor, so any queue delivers it.
    push(number_of(delivery.queue) and delivery.queue or ARGV[7], key, split(value), ms, true)
    taken_back = taken_back + 1
  end
end
return taken_back
