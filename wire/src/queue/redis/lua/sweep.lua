-- Tidies one stream: releases what workers that are gone for long still hold, forgets those workers, and trims what is
-- acknowledged. Never deletes an entry that was not delivered, which would break the lag.
-- KEYS: stream   ARGV: group, prefix, idle milliseconds, how many at once. Answers the ids that were released.
local swept = {}
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], '-', '+', ARGV[4])
if pending.err then return swept end
for _, claim in ipairs(pending) do
    if redis.call('EXISTS', ARGV[2] .. 'alive:' .. claim[2]) == 0 then
        redis.call('XACK', KEYS[1], ARGV[1], claim[1])
        swept[#swept + 1] = claim[2] .. ' ' .. claim[1]
    end
end
for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local consumer = {}
    for i = 1, #fields, 2 do consumer[fields[i]] = fields[i + 1] end
    if consumer.pending == 0 and consumer.idle > tonumber(ARGV[3])
        and redis.call('EXISTS', ARGV[2] .. 'alive:' .. consumer.name) == 0 then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
    end
end
local first = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', '1')
local keep = first[1] and first[1][1]
if not keep then
    for _, fields in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
        local group = {}
        for i = 1, #fields, 2 do group[fields[i]] = fields[i + 1] end
        if group.name == ARGV[1] then keep = group['last-delivered-id'] end
    end
end
if keep and keep ~= '0-0' then redis.call('XTRIM', KEYS[1], 'MINID', keep) end
return swept
