-- Appends events to the history, but for those that stand there, and removes what is too old.
-- Each is published too, on a channel with the history's name, for programs beside us that want no history.
--
-- KEYS: the history (stream), what stands in it (hash: event id -> place in the stream)
-- ARGV: how many are kept, then for each event its id and the event as JSON
-- Each entry names the one before it, so that a reader sees when one is missing.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local before = last and last[1] or ''
if not last then
    redis.call('DEL', KEYS[2])
end
local ids = {}
for at = 2, #ARGV, 2 do
    ids[#ids + 1] = ARGV[at]
end
local places = redis.call('HMGET', KEYS[2], unpack(ids))
local appended = {}
for number, id in ipairs(ids) do
    if not places[number] and not appended[id] then
        local event = ARGV[2 * number + 1]
        before = redis.call('XADD', KEYS[1], '*', 'id', id, 'before', before, 'event', event)
        redis.call('PUBLISH', KEYS[1], event)
        appended[id] = true
        appended[#appended + 1] = id
        appended[#appended + 1] = before
    end
end
if #appended == 0 then
    return 0
end
redis.call('HSET', KEYS[2], unpack(appended))
local over = redis.call('XLEN', KEYS[1]) - tonumber(ARGV[1])
if over > 0 then
    local old_places, old_ids = {}, {}
    for number, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', math.min(over, 100 + #ids))) do
        old_places[number] = entry[1]
        old_ids[number] = entry[2][2]
    end
    redis.call('XDEL', KEYS[1], unpack(old_places))
    redis.call('HDEL', KEYS[2], unpack(old_ids))
end
return #appended / 2
