-- ARGV: prefix, lease id, cost. A lease that was exchanged is settled by its successor. One that was taken for lost is
-- corrected by what it did cost. Repeating it changes nothing.
local prefix, id, cost = ARGV[1], ARGV[2], tonumber(ARGV[3])
local granted, books, ended, to
for _ = 1, 16 do
  granted, books, ended, to = fields(prefix .. "lease:" .. id)
  if ended ~= "moved" then
    break
  end
  id = to
end
if not books or (ended and ended ~= "lost") then
  return 0
end
local lease = prefix .. "lease:" .. id
each(books, function(book)
  if ended == "lost" then
    redis.call("HINCRBY", book, "settled", plain(cost - granted))
  else
    redis.call("HINCRBY", book, "settled", plain(cost))
    redis.call("HINCRBY", book, "reserved", plain(-granted))
  end
end)
redis.call("HSET", lease, "ended", "settled")
redis.call("PEXPIRE", lease, 600000)
redis.call("ZREM", prefix .. "due", id)
if ended == "lost" then
  redis.call("RPUSH", prefix .. "lost", id .. "\n" .. plain(-granted) .. "\n" .. books)
end
if redis.call("EXISTS", prefix .. "waiting") == 1 then
  redis.call("PUBLISH", prefix .. "freed", id)
end
return 1
