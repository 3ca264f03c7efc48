-- What all verbs share; put before each of them. What is for one job at a time is in jobs.lua,
-- what is for the history in history.lua, for fair shares in order.lua, for keys in keys.lua, for limits in gates.lua; they are opened when they
-- are needed.
--
-- KEYS[1] is "{name}:". All keys of an app begin with it, so they live in one slot of a cluster:
--   jobs            hash   id -> the job as it came (records.py: Made)
--   states          hash   id -> where it stands (records.py: Stand); without one it is ready since it came, and was never started
--   ids, ids:BOUND, ids:new  zset, strings   every id in its order, but for the newest (ids.lua)
--   ready:LINE      zset   id by priority, then due time; a LINE is "queue\0lane"
--   due:LINE        zset   of those that do not stand there by it, id by due time
--   clocks          hash   "LINE\0priority" -> the place of what was handed out last, of lines that have groups
--   turns:LINE\0PRIORITY  zset  group -> the place of its last job (order.lua)
--   scheduled       zset   id by due time
--   terms           hash   id -> what it asks for beside its turn (terms.py: Terms, as msgpack); plain jobs have none
--   awaits          hash   id -> how many letters it awaits in all, if that is not what its terms say
--   mail:ID         hash   of each letter that came: its name -> its number in the journal
--   family:ROOT     set    ids of the jobs of a workflow
--   waiting         zset   id by the time from when on it waits, or before which it is not to start
--   gates           hash   of a limit and a key, joined by "\31", what it admits and its accounts (gates.py: Gate, as msgpack)
--   gate_names      zset   the same names in their order
--   gate:NAME       zset   id by its rank and due time: who stands there
--   stands          hash   id -> the name of the gate where it stands
--   passed          zset   "NAME\31id", in its order, of whoever passed a gate and has not started
--   opening, idling zset   names by when time alone lets the next one pass; from when on nobody needs them
--   running         zset   id by the number of the worker that holds it
--   parked          zset   id by the time it was parked
--   ended:STATE     zset   id by the time to forget it, for each of the finished states
--   expiring        zset   id by its expiry, until it is started
--   cancelling      set    ids that run and are to be cancelled
--   keys, keyed     hash   key -> the job that has it, or had it last (keys.lua); id -> its key
--   held            hash   id -> until when its key is taken at least
--   became, named   hash   id -> the id of the job that it was replaced by last; the other way round
--   counts          hash   "LINE\0state" -> how many
--   paused          set    queues
--   journals        hash   id -> numbers of its last entry, its latest progress and its latest checkpoint; the fence under which the last entry
--                          was written, and the latest number that its run had given to one by then
--   log:ID          zset   a job's entries by their numbers
--   leases          zset   worker -> the end of its lease, if it lives or still holds a job
--   gone, resting   zset   worker -> the same: dead for ever; silent, but may live again
--   cards, words, numbers  hash  worker -> what it says of itself; what to say of its jobs when it is dead ('': they are blameless); its number
--   wishes          hash   worker -> what is wished of it: a state, and the number of its stacks
--   look            hash   looked, trusted: when the dead were looked for last, and from when on silence means death
--   span:STEP:AT    hash   what happened in so many seconds from then on: "queue\0task\0outcome" -> a count, and how many times are in each bucket
--                          of wait and of run (as msgpack)
--   spans:STEP      zset   which of them there are, by their beginning
--   told, writers   hash, zset  writer -> the number of its latest report; by when it came
--   faults, sighted hash, zset  fingerprint -> failures that look alike (measures.py: Fault); by when the latest was seen
--   shelf:SHELF, names:SHELF  hash, zset  name -> what is kept under it; the names in their order
--   worker_count, token   the last number of a worker; the last token
--   idle:LINE       zset   channel of a waiting broker -> since when: a claim of it waits for work. Also for the LINEs "\0WORKER" (its claim
--                          waits until it lives again) and "\0due" (a promote waits for something to be due)
--   watched, awaited hash  id -> channels: a read waits for any change of the job; for an entry or its end

local root, call = KEYS[1], redis.call
local byte, sub, char, find, floor = string.byte, string.sub, string.char, string.find, math.floor
local WAITING = 1
local SCHEDULED, READY, RUNNING, PARKED, SUCCEEDED, FAILED, CANCELLED = 0, 2, 3, 4, 5, 6, 7
local RUN = 4096 -- bytes of a run of ids
local PARTS = 1000000 -- of a job that are looked for at most
local MANY = 1000 -- arguments that are unpacked at once: a call in Lua takes less than 8,000
local ANSWER = 1048576 -- bytes of records in one answer, about: Redis hangs up on a listener that it owes 32 MB
local HEAD = '^\154\203........\202....\202....' -- of a job as it came: an array of ten; when it came, keep, keep_failed

local function clock(given)
  if given ~= '' then return tonumber(given) end
  local time = call('TIME')
  return time[1] + time[2] / 1000000
end

-- Numbers of a fixed width, so that records can be cut and put together without being decoded.
local function double(number) return '\203' .. struct.pack('>d', number) end
local function whole(number) return '\207' .. struct.pack('>I8', number) end

-- The score in ready:LINE (core/order.py: rank): the higher priority first, then the earlier place, in steps of 20 microseconds.
local BAND = 6e14 -- of the scores of one priority
local function score(priority, place)
  return string.format('%.0f', (9 - priority) * BAND + floor(math.max(0, math.min(place, 1.19e10)) * 50000))
end

-- Call a command on a list of any length, some at a time.
local function each(command, key, list)
  for from = 1, #list, MANY do call(command, key, unpack(list, from, math.min(#list, from + MANY - 1))) end
end

local function values(key, ids)
  local found = {}
  for from = 1, #ids, MANY do
    local to = math.min(#ids, from + MANY - 1)
    local some = call('HMGET', key, unpack(ids, from, to))
    for i = 1, to - from + 1 do found[from + i - 1] = some[i] end
  end
  return found
end

-- The values of the first of these ids: as many as fit into one answer.
local function values_that_fit(key, ids)
  local found, size = {}, 0
  for from = 1, #ids, 32 do
    local to = math.min(#ids, from + 31)
    local some = call('HMGET', key, unpack(ids, from, to))
    for i = 1, to - from + 1 do
      if size >= ANSWER then return found end
      found[#found + 1] = some[i]
      size = size + #(some[i] or '')
    end
  end
  return found
end

local function count(line, state, change)
  local field = line .. '\0' .. state
  if call('HINCRBY', root .. 'counts', field, change) <= 0 then call('HDEL', root .. 'counts', field) end
end

-- What a job asks for beside its turn; nothing, where that cannot be read.
local function terms_of(id)
  local ok, found = pcall(cmsgpack.unpack, call('HGET', root .. 'terms', id) or '')
  return ok and type(found) == 'table' and found or {}
end

-- What `journals` has of a job; nil when it has none. If somebody overwrote it, the number of the last entry is found again.
local function numbers_of(id)
  local stored = call('HGET', root .. 'journals', id)
  if not stored then return nil end
  local ok, found = pcall(cmsgpack.unpack, stored)
  if ok and type(found) == 'table' and tonumber(found[1]) and tonumber(found[2]) and tonumber(found[3]) then
    found[5] = tonumber(found[5]) or 0
    return found
  end
  return {tonumber(call('ZRANGE', root .. 'log:' .. id, -1, -1, 'WITHSCORES')[2]) or 0, 0, 0}
end

-- Wake waiting claims for `many` jobs that became ready: the longest waiting first, and none of the dead.
local function wake(line, many)
  many = math.min(many, MANY)
  while many > 0 do
    local ears = call('ZPOPMIN', root .. 'idle:' .. line, many)
    if #ears == 0 then return end
    for i = 1, #ears, 2 do
      if call('PUBLISH', ears[i], 'r' .. line) > 0 then many = many - 1 end
    end
  end
end

-- Tell who waits for these jobs, in the hash `who`. A small, plain job without a journal that has come to its end is told whole, so that nobody
-- needs to ask: its size and the job as it came, then its stand.
local function tell(who, ids)
  if #ids == 0 or call('HLEN', root .. who) == 0 then return end
  local found = values(root .. who, ids)
  for i, id in ipairs(ids) do
    if found[i] then
      local message, stand = 'j' .. char(#id) .. id, call('HGET', root .. 'states', id)
      if stand and (byte(stand, 2) or 0) >= SUCCEEDED and call('HEXISTS', root .. 'journals', id) == 0 then
        local made = call('HGET', root .. 'jobs', id)
        local small = made and #made + #stand < 4096 and call('HEXISTS', root .. 'terms', id) == 0
        if small then message = message .. struct.pack('>I4', #made) .. made .. stand end
      end
      call('HDEL', root .. who, id)
      for ear in string.gmatch(found[i], '%S+') do call('PUBLISH', ear, message) end
    end
  end
end

-- A job as it is seen from outside: as it came, its stand, its latest progress, whether it is to be cancelled, its terms; and of a job that
-- has terms how many letters came, and how many it awaits ('' for as many as the terms say).
local function seen(id)
  local made = call('HGET', root .. 'jobs', id)
  if not made then return false, false, false, 0, false, false end
  local progress, numbers = false, numbers_of(id)
  if numbers and numbers[2] > 0 then
    progress = call('ZRANGEBYSCORE', root .. 'log:' .. id, numbers[2], numbers[2])[1] or false
  end
  local cancelling, terms = call('SISMEMBER', root .. 'cancelling', id), call('HGET', root .. 'terms', id)
  local letters = terms and call('HLEN', root .. 'mail:' .. id) .. ' ' .. (call('HGET', root .. 'awaits', id) or '')
  return made, call('HGET', root .. 'states', id), progress, cancelling, terms, letters or false
end
