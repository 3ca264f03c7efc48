"""For workers whose clock can be turned."""

import os
import select
import time

if "FAKETIME_TIMESTAMP_FILE" in os.environ:
    # libfaketime 0.9.10 does not know how Python sleeps since 3.11: `time.sleep` would raise.
    time.sleep = lambda seconds: select.select([], [], [], seconds) and None

if "CHAOS_CLOCK" in os.environ:
    # The clock of Redis itself cannot be turned: libfaketime and its allocator do not get on. So our scripts are told another time.
    from windlass.broker.redis import scripts

    load = scripts.load

    def turned() -> dict[str, scripts.Script]:
        true, offset = b"return time[1] + time[2] / 1000000", b" + tonumber(call('GET', root .. 'offset') or 0)"
        texts = {name: script.text.replace(true, true + offset) for name, script in load().items()}
        assert any(offset in text for text in texts.values())
        return {
            name: scripts.Script(name, text, scripts.sha1(text, usedforsecurity=False).hexdigest().encode())
            for name, text in texts.items()
        }

    scripts.load = turned
