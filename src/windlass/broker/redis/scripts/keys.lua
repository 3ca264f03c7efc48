-- Who has a key, and how long: `local keys = open_keys()`. It says what core/keys.py says, of the keys `keys`, `keyed` and `held`.

-- Until when the key of a job is taken, whatever becomes of it; 0: not by time.
local function held_until(id) return tonumber(call('HGET', root .. 'held', id) or 0) end

-- Whether a job that is not finished has its key no more.
local function let_go(job) return job.started_at ~= nil and terms_of(job.id).unique == 'started' end

-- Whether nobody waits for a job with these terms, and it waits for nobody.
local function alone(terms) return not (terms.root or (terms.to and #terms.to > 0) or (terms.letters or 0) > 0) end

-- Whether a job has its key now.
local function holds(job, now) return now < held_until(job.id) or not (job.state >= SUCCEEDED or let_go(job)) end

-- Keep the key of a job that came then, if it asks for that.
local function hold(id, came, terms)
  local seconds = tonumber(terms.unique_for) or 0
  if seconds > 0 then call('HSET', root .. 'held', id, string.format('%.17g', came + seconds)) else call('HDEL', root .. 'held', id) end
end

-- A job has ended, or is gone: its key is another's, unless it is held.
local function free(job, now)
  if now and now < held_until(job.id) then return end
  if call('HGET', root .. 'keys', job.key) == job.id then call('HDEL', root .. 'keys', job.key) end
end

-- A job became the new one of this id.
local function became(job, id)
  local last = call('HGET', root .. 'became', job.id)
  if last then call('HDEL', root .. 'named', last) end
  if id then
    call('HSET', root .. 'became', job.id, id)
    call('HSET', root .. 'named', id, job.id)
  elseif last then
    call('HDEL', root .. 'became', job.id)
  end
end

return {alone = alone, held_until = held_until, let_go = let_go, holds = holds, hold = hold, free = free, became = became}
