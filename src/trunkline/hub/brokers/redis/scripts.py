"""What Redis does in one step: publishing with a history or under an idempotency key, and reading histories.

For a topic there are

- `meta`, a hash: `epoch`, `offset` (the top), `run` (the server's `run_id` when the epoch began), `seconds` (how old
  an entry may become). It outlives the stream by far, so that a client that missed nothing is recovered;
- `stream`: id `<offset>-0`, fields `e` (the envelope) and `t` (when, in seconds);
- `who`, a hash of entries by their refs, and `until`, a sorted set of when the time of each runs out, by the server's
  clock, so that processes whose clocks differ agree;
- `key`: what was answered to the first publication under an idempotency key.

Another `run_id` begins another epoch: a server that was restarted from an older snapshot, or a replica that lagged,
counts on from an offset that clients may have passed, and would hide a gap. With an offset of 1 the stream is deleted,
because then `meta` was evicted and the stream is of another epoch.
"""

from __future__ import annotations

from hashlib import sha1

__all__ = ["ALL", "HISTORY", "HOLD", "LAST", "PRESENT", "PUBLISH", "PUBLISH_SHARDED", "REAP", "RELEASE", "Script"]

META_SECONDS = 30 * 24 * 3600
KEY_SECONDS = 300

_EPOCH = """
local function begin(meta, run, fresh)
  local known = redis.call('HMGET', meta, 'epoch', 'run', 'offset', 'seconds')
  if known[1] and known[2] == run then
    return known[1], tonumber(known[3]), tonumber(known[4])
  end
  redis.call('HSET', meta, 'epoch', fresh, 'run', run, 'offset', 0)
  return fresh, 0, tonumber(known[4])
end
"""

# KEYS: stream, meta, key.
# ARGV: channel, envelope, count (0: no history), seconds, run, fresh epoch, 1 if there is a key.
_PUBLISH = (
    _EPOCH
    + f"""
if ARGV[7] == '1' then
  local done = redis.call('GET', KEYS[3])
  if done then return done end
end
local answer = ''
if ARGV[3] ~= '0' then
  local epoch = begin(KEYS[2], ARGV[5], ARGV[6])
  local offset = redis.call('HINCRBY', KEYS[2], 'offset', 1)
  local seconds = math.ceil(tonumber(ARGV[4]))
  redis.call('HSET', KEYS[2], 'seconds', ARGV[4])
  redis.call('EXPIRE', KEYS[2], math.max({META_SECONDS}, seconds))
  if offset == 1 then redis.call('DEL', KEYS[1]) end
  local time = redis.call('TIME')
  local now = time[1] .. '.' .. string.format('%06d', time[2])
  redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[3], string.format('%.0f-0', offset), 'e', ARGV[2], 't', now)
  redis.call('EXPIRE', KEYS[1], seconds + 1)
  answer = string.format('%.0f-', offset) .. epoch
end
if ARGV[7] == '1' then redis.call('SET', KEYS[3], answer, 'EX', {KEY_SECONDS}) end
redis.call('{{publish}}', ARGV[1], answer .. '\\n' .. ARGV[2])
return answer
"""
)

# KEYS: stream, meta. ARGV: run, fresh epoch, since's epoch and offset, how many at most. Returns epoch, top, 1 if what
# follows can be told, and the envelopes.
_HISTORY = (
    _EPOCH
    + f"""
local epoch, top, seconds = begin(KEYS[2], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], math.max({META_SECONDS}, math.ceil(seconds or 0)))
local answer = {{epoch, string.format('%.0f', top), 0, {{}}}}
local since = tonumber(ARGV[4])
if ARGV[3] ~= epoch or since > top then return answer end
if since == top then
  answer[3] = 1
  return answer
end
local first, last = string.format('%.0f-0', since + 1), string.format('%.0f-0', top)
local entries = redis.call('XRANGE', KEYS[1], first, last, 'COUNT', ARGV[5])
if not entries[1] or entries[1][1] ~= first then return answer end
local now = redis.call('TIME')
local fields = entries[1][2]
if tonumber(now[1]) - tonumber(fields[4]) > seconds then return answer end
answer[3] = 1
for index, entry in ipairs(entries) do answer[4][index] = entry[2][2] end
return answer
"""
)


# KEYS: stream, meta. ARGV: run, fresh epoch, count. Returns epoch, top, then the newest envelopes from the oldest on.
_LAST = (
    _EPOCH
    + f"""
local epoch, top, seconds = begin(KEYS[2], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], math.max({META_SECONDS}, math.ceil(seconds or 0)))
local envelopes = {{}}
local first = math.max(top - tonumber(ARGV[3]), 0) + 1
if first <= top then
  local now = tonumber(redis.call('TIME')[1])
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], string.format('%.0f-0', first), string.format('%.0f-0', top))) do
    if now - tonumber(entry[2][4]) > seconds then
      envelopes = {{}}
    else
      envelopes[#envelopes + 1] = entry[2][2]
    end
  end
end
return {{epoch, string.format('%.0f', top), envelopes}}
"""
)


_NOW = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
"""

# KEYS: who, until. ARGV: seconds, then ref, entry, ref, entry, ...
_HOLD = (
    _NOW
    + """
for index = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[index], ARGV[index + 1])
  redis.call('ZADD', KEYS[2], string.format('%.6f', now + tonumber(ARGV[1])), ARGV[index])
end
"""
)

_TAKE = """
local function take(refs)
  local gone = {}
  for _, ref in ipairs(refs) do
    local entry = redis.call('HGET', KEYS[1], ref)
    if entry then
      gone[#gone + 1] = ref
      gone[#gone + 1] = entry
    end
    redis.call('HDEL', KEYS[1], ref)
    redis.call('ZREM', KEYS[2], ref)
  end
  return gone
end
"""

# KEYS: who, until. ARGV: refs
_RELEASE = _TAKE + "take(ARGV)"

# KEYS: who, until
_REAP = (
    _NOW
    + _TAKE
    + """
return take(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.6f', now), 'LIMIT', 0, 500))
"""
)

# KEYS: who, until
_PRESENT = (
    _NOW
    + """
local found = {}
for _, ref in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], string.format('(%.6f', now), '+inf')) do
  found[#found + 1] = ref
  found[#found + 1] = redis.call('HGET', KEYS[1], ref)
end
return found
"""
)


class Script:
    """A script and the name that Redis gives it."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = sha1(text.encode(), usedforsecurity=False).hexdigest()


PUBLISH = Script(_PUBLISH.replace("{publish}", "PUBLISH"))
PUBLISH_SHARDED = Script(_PUBLISH.replace("{publish}", "SPUBLISH"))
HISTORY = Script(_HISTORY)
LAST = Script(_LAST)
HOLD = Script(_HOLD)
RELEASE = Script(_RELEASE)
REAP = Script(_REAP)
PRESENT = Script(_PRESENT)
ALL = (PUBLISH, PUBLISH_SHARDED, HISTORY, LAST, HOLD, RELEASE, REAP, PRESENT)
