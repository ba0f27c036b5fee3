"""The seeded bugs. Each is one that somebody could write, or has written."""

from __future__ import annotations

from typing import Final

from sim.mutants.apply import Mutant

_SPEND, _MEMORY = "dataplane/spend/", "dataplane/spend/adapters/memory.py"
_VALKEY, _LUA = "dataplane/spend/adapters/valkey.py", "dataplane/spend/adapters/lua/"

MUTANTS: Final = (
    Mutant(
        "a lost refund: the lease of a request that cost nothing is never ended",
        "dataplane/settle.py",
        "    if run.lease is not None:\n        run.drift_nanousd",
        "    if run.lease is not None and spent:\n        run.drift_nanousd",
    ),
    Mutant(
        "a double settle: an end that is told again is booked again",
        _LUA + "settle.lua",
        'if not books or (ended and ended ~= "lost") then',
        "if not books then",
    ),
    Mutant(
        "a ticket kept on cancel",
        "dataplane/settle.py",
        '    run.end_ticket("success" if run.record.code is None else "dropped")\n',
        '    if run.record.code != "client_closed":\n        run.end_ticket("dropped")\n',
    ),
    Mutant(
        "a token handed over to a waiter that was just leaving is nobody's",
        "dataplane/admission/gate.py",
        "            if waiter.ticket is not None:  #",
        "            if waiter.ticket is waiter:  #",
    ),
    Mutant(
        "a lease that never expires",
        _LUA + "common.lua",
        '"-inf", plain(now), "LIMIT"',
        '"-inf", "0", "LIMIT"',
    ),
    Mutant(
        "an expired lease is spent, and stays reserved",
        _LUA + "common.lua",
        '        redis.call("HINCRBY", book, "reserved", plain(-granted))\n',
        "",
    ),
    Mutant(
        "an expired lease is told twice",
        _LUA + "common.lua",
        '      redis.call("RPUSH", prefix .. "lost", id',
        '      redis.call("RPUSH", prefix .. "lost", id .. "\\n" .. plain(granted) .. "\\n" .. books)\n'
        '      redis.call("RPUSH", prefix .. "lost", id',
    ),
    Mutant(
        "a lease grows by what its first account has, whatever the others have",
        _MEMORY,
        "            for place, book in zip(places, held.books, strict=True):\n                more",
        "            for place, book in zip(places[:1], held.books[:1], strict=True):\n                more",
    ),
    Mutant(
        "a lease in the shared store grows beyond the limit",
        _LUA + "extend.lua",
        "  more = math.min(more, tonumber(ARGV[5 + at]) - settled - reserved)",
        "  more = math.min(more, tonumber(ARGV[5 + at]) - settled)",
    ),
    Mutant(
        "an exchange forgets the old lease",
        _MEMORY,
        "            self._end(instead_of, 0)\n",
        "            pass\n",
    ),
    Mutant(
        "an exchange does not count its own money as free",
        _LUA + "reserve.lua",
        "    reserved = reserved - own\n",
        "    reserved = reserved\n",
    ),
    Mutant(
        "what was granted is booked, not what it cost",
        _SPEND + "lease.py",
        "self.id, nanousd)\n        return max",
        "self.id, max(nanousd, self.granted))\n        return max",
    ),
    Mutant(
        "who waits is not called when money comes free",
        _SPEND + "budgets.py",
        "            self._call([*named, *whole])",
        "            self._call([*whole])",
    ),
    Mutant(
        "who waited for money and went stays in the queue",
        _SPEND + "budgets.py",
        "        finally:\n            self._place(asking, [])\n",
        "        finally:\n            pass\n",
    ),
    Mutant(
        "who waits for money keeps its token",
        "dataplane/hold.py",
        'on_wait=lambda: run.end_ticket("ignored"),',
        "on_wait=lambda: None,",
    ),
    Mutant(
        "refused for good while others' reservations may come back",
        _SPEND + "refusals.py",
        "        return max(0, self.limit - self.level.settled - self.level.doubt)",
        "        return max(0, self.limit - self.level.used)",
    ),
    Mutant(
        "tokens that were charged and not used are not given back",
        "dataplane/settle.py",
        "actual - run.charged_tokens)\n",
        "max(0, actual - run.charged_tokens))\n",
    ),
    Mutant(
        "a request is charged twice on its rate",
        "dataplane/pipeline.py",
        "        charged = await plane.limiter.charge_request(entry)\n",
        "        await plane.limiter.charge_request(entry)\n"
        "        charged = await plane.limiter.charge_request(entry)\n",
    ),
    Mutant(
        "money reserved before midnight is spent after it",
        _MEMORY,
        "                book.settled += cost\n",
        "                pages = [page for page in self._pages.values() if book.account in page.books]\n"
        "                (pages[-1].books[book.account] if pages else book).settled += cost\n",
    ),
    Mutant(
        "what was produced before a hang-up is not billed",
        "dataplane/deliver.py",
        'settled."""\n    run.close_upstream()\n',
        'settled."""\n    run.close_upstream()\n    run.answering = None\n',
    ),
    Mutant(
        "the cap is not sent to the model's server",
        "dataplane/inference/dialect.py",
        "        body.cap_field: plan.max_tokens,\n",
        "",
    ),
    Mutant(
        "the cap is what was asked for, not what can be paid",
        "dataplane/hold.py",
        "    if affordable < plan.max_tokens:\n",
        "    if affordable < 1:\n",
    ),
    Mutant(
        "an answer goes on where its money has ended",
        "dataplane/deliver.py",
        "    if not over:\n        return some\n",
        "    if over is not None:\n        return some\n",
    ),
    Mutant(
        "what was billed beyond the lease has no row",
        "dataplane/settle.py",
        "    if run.drift_nanousd:\n",
        "    if run.drift_nanousd < 0:\n",
    ),
    Mutant(
        "an end that was lost with the connection is not told again",
        _VALKEY,
        "            self._queue.extendleft(reversed([told for told in batch if told.again]))\n",
        "",
    ),
    Mutant(
        "a reservation whose answer was lost is not given back",
        _VALKEY,
        "            if instead_of is None:  # it may have happened\n",
        "            if instead_of == '':\n",
    ),
    Mutant(
        "a follower is left waiting when its leader fails",
        "dataplane/cache/store.py",
        "        while making.waiting:\n",
        "        while len(making.waiting) > 99:\n",
    ),
    Mutant(
        "the lead is not given up by a leader that hangs up",
        "dataplane/settle.py",
        "    run.end_flight()\n\n\ndef write",
        '    if run.record.code != "client_closed":\n        run.end_flight()\n\n\ndef write',
    ),
)
