-- Removes events from the history, and makes readers drop their copies.
--
-- KEYS: the history (stream), its event ids (hash: event id -> entry id)
-- ARGV: event ids
-- The message to the readers is an entry of the stream. It is appended before the events are deleted, so that it can
-- name the entry before it, and a reader sees no gap.
local entries = {}
for _, id in ipairs(ARGV) do
    local entry = redis.call('HGET', KEYS[2], id)
    if entry then
        entries[#entries + 1] = entry
    end
end
if #entries == 0 then
    return 0
end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
redis.call('XADD', KEYS[1], '*', 'id', '', 'before', last and last[1] or '', 'forget', table.concat(ARGV, ','))
redis.call('HDEL', KEYS[2], unpack(ARGV))
return redis.call('XDEL', KEYS[1], unpack(entries))
