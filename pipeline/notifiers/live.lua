-- Appends an event to the history unless it stands there, and removes what is too old.
--
-- KEYS: the history (stream), what stands in it (hash: event id -> place in the stream)
-- ARGV: event id, the event as JSON, how many are kept
-- Each entry names the one before it, so that a reader sees when one is missing.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not last then
    redis.call('DEL', KEYS[2])
elseif redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then
    return 0
end
local place = redis.call('XADD', KEYS[1], '*', 'id', ARGV[1], 'before', last and last[1] or '', 'event', ARGV[2])
redis.call('HSET', KEYS[2], ARGV[1], place)
local over = redis.call('XLEN', KEYS[1]) - tonumber(ARGV[3])
if over > 0 then
    for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', math.min(over, 100))) do
        redis.call('XDEL', KEYS[1], entry[1])
        redis.call('HDEL', KEYS[2], entry[2][2])
    end
end
return 1
