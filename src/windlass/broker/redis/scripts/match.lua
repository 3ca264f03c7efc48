#!lua flags=no-writes
-- Which of some jobs match. ARGV: how many are wanted, their states ('' for any, else a character each), queue, task, key (each '' for any,
-- else ":" and it), ids. Answers how many were looked at (as many as it takes, and few of large ones), and the places (from 0) of those
-- that match. What cannot be read may match.

local function given(arg) return arg ~= '' and sub(arg, 2) or nil end
local states, queue, task, key = ARGV[2], given(ARGV[3]), given(ARGV[4]), given(ARGV[5])
local answer, size, queues = {0}, 0, {}

local function stands(id)
  local stand = call('HGET', root .. 'states', id)
  size = size + #(stand or '')
  local state = stand and byte(stand, 2) or READY
  return find(states, char(state <= CANCELLED and state or PARKED), 1, true)
end

local function came(id)
  local made = call('HGET', root .. 'jobs', id)
  if not made then return false end
  size = size + #made
  local ok, _, _, _, _, _, _, line, name = pcall(cmsgpack.unpack_limit, made, 7, 1)
  if not ok then return true end
  if task and name ~= task then return false end
  line = tostring(line or 'default\0loop')
  queues[line] = queues[line] or string.match(line, '^(.*)%z') or ''
  return not queue or queues[line] == queue
end

for i = 6, #ARGV do
  local id = ARGV[i]
  answer[1] = i - 5
  local fits = not key or call('HGET', root .. 'keyed', id) == key
  if fits and (states == '' or stands(id)) and (not (queue or task) or came(id)) then answer[#answer + 1] = i - 6 end
  if #answer > tonumber(ARGV[1]) or size > 8 * ANSWER then break end
end
return answer
