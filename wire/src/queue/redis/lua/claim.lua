-- Takes the first entry for this worker, urgent streams before others, and reports the claim. Atomic: two workers never see
-- one entry, no entry is on its way to a worker that has stopped waiting for it, and no claim stays unknown because its
-- worker died.
-- KEYS: epoch, dead, events, then per circuit: urgent stream, stream, wake
-- ARGV: worker, group, prefix, longest entry, most entries buried or passed on in one call, length of dead,
-- most wake-ups, most events
-- Answers {epoch, which stream, id, entry, passed on}: no epoch if there is no deployment, no id if there is no entry.
local worker, group, prefix = ARGV[1], ARGV[2], ARGV[3]
local epoch = redis.call('GET', KEYS[1])
if not epoch then return { '', 0, '', '', 0 } end
local passed, patience = 0, tonumber(ARGV[5])
-- A claim that cannot be reported is not made.
if redis.call('XLEN', KEYS[3]) >= tonumber(ARGV[8]) then return { epoch, 0, '', '', 1 } end

local function take(key)
    local waiting = patience
    local first_passed
    while waiting > 0 do
        waiting = waiting - 1
        local got = redis.pcall('XREADGROUP', 'GROUP', group, worker, 'COUNT', '1', 'STREAMS', key, '>')
        if not got or got.err then return nil, got and got.err end
        local id, fields = got[1][2][1][1], got[1][2][1][2]
        local entry = {}
        if type(fields) == 'table' then
            for i = 1, #fields, 2 do entry[fields[i]] = fields[i + 1] end
        end
        local job, attempt
        if entry.n then job, attempt = string.match(entry.n, '^(%d+):(%d+)$') end
        if not entry.e or not job or #entry.e > tonumber(ARGV[4]) then
            local reason = entry.e and job and 'oversized' or 'not an entry'
            local start = string.sub(entry.e or (fields and fields[2]) or '', 1, 256)
            redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[6], '*', 'reason', reason, 'origin', key .. ' ' .. id, 'bytes', start)
            redis.call('XACK', key, group, id)
        elseif redis.call('EXISTS', prefix .. 'job:' .. job) == 0 then
            -- The job is over.
            redis.call('XACK', key, group, id)
        elseif entry.x and string.find(entry.x, ',' .. worker .. ',', 1, true) then
            local place = redis.call('XADD', key, '*', 'e', entry.e, 'n', entry.n, 'x', entry.x)
            redis.call('XACK', key, group, id)
            passed = passed + 1
            -- Once around: what was passed on comes again.
            if id == first_passed then return nil end
            first_passed = first_passed or place
        else
            redis.call('HSET', prefix .. 'claims:' .. job, attempt, key .. ' ' .. id)
            redis.call('XADD', KEYS[3], '*', 'c', job .. ':' .. attempt .. ':' .. worker)
            return id, nil, entry.e
        end
    end
    -- There may be more behind the rubbish.
    return nil, nil, nil, true
end

local told = {}
for place = 0, 1 do
    for i = 4, #KEYS, 3 do
        local before = passed
        local id, err, entry, more = take(KEYS[i + place])
        if err then
            if string.find(err, 'NOGROUP', 1, true) then return { '', 0, '', '', passed } end
            return redis.error_reply(err)
        end
        if passed > before or more then told[i] = true end
        if id then return { epoch, i + place, id, entry, passed } end
    end
end
for i = 4, #KEYS, 3 do
    local wake = KEYS[i + 2]
    if not told[i] then
        -- Nothing waits: no wake-up is for anything.
        redis.call('LTRIM', wake, 1, 0)
    elseif redis.call('LLEN', wake) < tonumber(ARGV[7]) then
        -- What was passed on is for somebody else.
        redis.call('RPUSH', wake, '1')
    end
end
return { epoch, 0, '', '', passed }
