-- KEYS: books. ARGV: prefix, lease id, now, until, want, least, old lease id or "", then limit, most (-1: none) and time
-- to live (ms) of each book. Gives granted (-1: nothing was done), then settled and reserved of each, without the old
-- lease's money.
local prefix, id, now, until_us = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local granted, least, old = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
sweep(prefix, now)
local own, own_books, held = 0, nil, "reserved" -- held: where its money stands, among what is spent once it was lost
if old ~= "" then
  local ended
  own, own_books, ended = fields(prefix .. "lease:" .. old)
  if ended == "lost" then
    held = "settled"
  elseif ended then
    own, own_books = 0, nil
  end
end
local mine = {}
each(own_books, function(book) mine[book] = true end)
local told = { 0 }
for at, book in ipairs(KEYS) do
  local settled, reserved = level(book)
  if mine[book] and held == "settled" then
    settled = settled - own
  elseif mine[book] then
    reserved = reserved - own
  end
  local limit, most = tonumber(ARGV[5 + 3 * at]), tonumber(ARGV[6 + 3 * at])
  local room = math.max(0, limit - settled - reserved)
  if most >= 0 then
    room = math.min(room, most)
  end
  granted = math.min(granted, room)
  told[#told + 1] = plain(settled)
  told[#told + 1] = plain(reserved)
end
if granted < least then
  redis.call("SET", prefix .. "waiting", "1", "PX", 60000)
  told[1] = "-1"
  return told
end
if own_books then
  each(own_books, function(book) redis.call("HINCRBY", book, held, plain(-own)) end)
  if held == "settled" then -- its holder has turned up
    redis.call("RPUSH", prefix .. "lost", old .. "\n" .. plain(-own) .. "\n" .. own_books)
  end
  redis.call("HSET", prefix .. "lease:" .. old, "ended", "moved", "to", id)
  redis.call("PEXPIRE", prefix .. "lease:" .. old, 86400000)
  redis.call("ZREM", prefix .. "due", old)
end
for at, book in ipairs(KEYS) do
  redis.call("HINCRBY", book, "reserved", plain(granted))
  redis.call("PEXPIRE", book, ARGV[7 + 3 * at])
end
local lease = prefix .. "lease:" .. id
redis.call("HSET", lease, "granted", plain(granted), "books", table.concat(KEYS, "\n"))
redis.call("PEXPIRE", lease, plain(math.max(0, until_us - now) / 1000 + 86400000))
redis.call("ZADD", prefix .. "due", plain(until_us), id)
told[1] = plain(granted)
return told
