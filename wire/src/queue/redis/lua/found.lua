-- Lays an empty deployment out, or finds it whole. Answers the epoch that holds from now on: another one than before if
-- anything was lost.
-- KEYS: epoch, deployments, events, streams of entries…   ARGV: a fresh epoch, group, prefix
local whole = redis.call('EXISTS', KEYS[1]) == 1
local kind = redis.call('TYPE', KEYS[3]).ok
if kind ~= 'stream' and kind ~= 'none' then
    redis.call('DEL', KEYS[3])
    whole = false
end
for i = 4, #KEYS do
    kind = redis.call('TYPE', KEYS[i]).ok
    if kind ~= 'stream' then
        if kind ~= 'none' then redis.call('DEL', KEYS[i]) end
        whole = false
    end
end
if not whole then
    redis.call('SET', KEYS[1], ARGV[1])
    for i = 4, #KEYS do
        -- Refused where the group is there.
        redis.pcall('XGROUP', 'CREATE', KEYS[i], ARGV[2], '0', 'MKSTREAM', 'ENTRIESREAD', '0')
    end
end
redis.call('SADD', KEYS[2], ARGV[3])
return redis.call('GET', KEYS[1])
