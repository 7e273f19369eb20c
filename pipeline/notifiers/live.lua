-- Appends events to the history, except those that it already contains, and removes the oldest ones.
-- Each event is also published on a channel with the stream's name, for programs that need no history.
--
-- KEYS: the history (stream), its event ids (hash: event id -> entry id)
-- ARGV: number of events to keep, then for each event its id and the event as JSON
-- Each entry contains the id of the entry before it, so that a reader notices a gap.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local before = last and last[1] or ''
if not last then
    redis.call('DEL', KEYS[2])
end
local ids = {}
for at = 2, #ARGV, 2 do
    ids[#ids + 1] = ARGV[at]
end
local known = redis.call('HMGET', KEYS[2], unpack(ids))
local appended = {}
for number, id in ipairs(ids) do
    if not known[number] and not appended[id] then
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
local excess = redis.call('XLEN', KEYS[1]) - tonumber(ARGV[1])
if excess > 0 then
    local old_entries, old_ids = {}, {}
    for number, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', math.min(excess, 100 + #ids))) do
        old_entries[number] = entry[1]
        old_ids[number] = entry[2][2]
    end
    redis.call('XDEL', KEYS[1], unpack(old_entries))
    redis.call('HDEL', KEYS[2], unpack(old_ids))
end
return #appended / 2
