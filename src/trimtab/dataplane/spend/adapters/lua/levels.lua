-- KEYS: books. ARGV: prefix, now. Gives settled and reserved of each.
sweep(ARGV[1], tonumber(ARGV[2]))
local told = {}
for _, book in ipairs(KEYS) do
  local settled, reserved = level(book)
  told[#told + 1] = plain(settled)
  told[#told + 1] = plain(reserved)
end
return told
