-- Reads the next events of each pool. A stream that is oversized, unwritable or no stream is replaced by an empty one; no
-- entry is read before length and bytes of its stream were looked at.
-- KEYS: the sentinel key, which only the coordinator writes, then the pools' streams of events
-- ARGV: most bytes, entries per poll, bytes per poll, longest message, how far in the future (milliseconds) an id may lie,
-- then per stream the cursor's two numbers and the most entries
-- Answers 1 if the sentinel key was gone, so that whatever was written before is gone too, else 0; then for each stream with news:
-- {its number, why it was replaced or '', {id, message or false, ...}}.
local bytes_max, per_poll, bytes_per_poll = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local longest, ahead = tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local horizon = tonumber(time[1]) * 1000 + ahead
local function last_id(key)
    local info = redis.call('XINFO', 'STREAM', key)
    for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then return string.match(info[i + 1], '^(%d+)-(%d+)$') end
    end
end
-- A full server does not take it: the wipe is reported once there is room.
local wiped = redis.call('TYPE', KEYS[1]).ok == 'none' and redis.pcall('SET', KEYS[1], '').ok ~= nil
local answer = {}
for i = 1, #KEYS - 1 do
    local key = KEYS[i + 1]
    local why, entries = '', {}
    local from_ms, from_seq, most = ARGV[3 + 3 * i], ARGV[4 + 3 * i], tonumber(ARGV[5 + 3 * i])
    local kind = redis.call('TYPE', key).ok
    if kind ~= 'none' and kind ~= 'stream' then
        why = 'foreign'
    elseif kind == 'stream' then
        local length = redis.call('XLEN', key)
        local bytes = length <= most and redis.call('MEMORY', 'USAGE', key, 'SAMPLES', '0') or 0
        if length > most or bytes > bytes_max then
            why = 'oversized'
        else
            local ms, seq = last_id(key)
            if tonumber(ms) > horizon then
                why = 'unwritable'
            elseif length > 0 then
                local start = '(' .. from_ms .. '-' .. from_seq
                -- A stream whose last id lies before the cursor is another stream: it is read from its start.
                if tonumber(ms) < tonumber(from_ms)
                    or (ms == from_ms and tonumber(seq) < tonumber(from_seq)) then
                    start = '-'
                end
                local count = math.max(1, math.min(per_poll, math.floor(bytes_per_poll * length / bytes)))
                for _, entry in ipairs(redis.call('XRANGE', key, start, '+', 'COUNT', count)) do
                    local message = false
                    for j = 1, #entry[2], 2 do
                        if entry[2][j] == 'e' and #entry[2][j + 1] <= longest then message = entry[2][j + 1] end
                    end
                    entries[#entries + 1] = entry[1]
                    entries[#entries + 1] = message
                end
            end
        end
    end
    if why ~= '' then redis.call('UNLINK', key) end
    if why ~= '' or #entries > 0 then answer[#answer + 1] = { i, why, entries } end
end
return { wiped and 1 or 0, answer }
