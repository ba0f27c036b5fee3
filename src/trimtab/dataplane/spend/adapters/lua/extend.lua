-- KEYS: books, in the order of the lease's. ARGV: prefix, lease id, now, until, want, then the limit of each book.
-- Gives how much more it holds.
local prefix, id, now, more = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[5])
sweep(prefix, now)
local lease = prefix .. "lease:" .. id
local _, books, ended = fields(lease)
if not books or ended then
  return "0"
end
for at, book in ipairs(KEYS) do
  local settled, reserved = level(book)
  more = math.min(more, tonumber(ARGV[5 + at]) - settled - reserved)
end
if more <= 0 then
  return "0"
end
for _, book in ipairs(KEYS) do
  redis.call("HINCRBY", book, "reserved", plain(more))
end
redis.call("HINCRBY", lease, "granted", plain(more))
redis.call("ZADD", prefix .. "due", ARGV[4], id)
return plain(more)
