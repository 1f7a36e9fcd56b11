-- Puts an entry that cannot be read where a person finds it, out of everybody's way.
-- KEYS: dead, stream   ARGV: group, id, reason, first bytes, length of dead
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[5], '*', 'reason', ARGV[3], 'origin', KEYS[2] .. ' ' .. ARGV[2], 'bytes', ARGV[4])
return redis.call('XACK', KEYS[2], ARGV[1], ARGV[2])
