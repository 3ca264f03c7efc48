#!lua flags=allow-oom
-- Note what a person says of some faults. ARGV: state, until, fingerprints. Answers which of them there are.

local known = {}
for i = 3, #ARGV do
  local stored = call('HGET', root .. 'faults', ARGV[i])
  local ok, fault = pcall(cmsgpack.unpack, stored or '')
  if ok and type(fault) == 'table' and #fault == 13 then
    fault[12], fault[13] = ARGV[1], tonumber(ARGV[2])
    call('HSET', root .. 'faults', ARGV[i], cmsgpack.pack(fault))
    known[#known + 1] = ARGV[i]
  end
end
return known
