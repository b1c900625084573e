"""A client of its own kind: plain NATS and JSON, nothing of ours. It is written against docs/protocol/README.md.

    independent.py NATS_URL REPOSITORY

Works as ten agents would: clones the repository, pushes branches, announces them, reads the events from the
stream, and calls the service. Ends with 0 when everything is as the page says, else with 1 and what is not.
"""

import asyncio
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import nats
from nats.js.api import ConsumerConfig, DeliverPolicy

PATIENCE_S = 60
TERMINAL = {"merge_complete", "merge_failed", "merge_withdrawn", "merge_superseded"}
COMMON = ["type", "request", "agent", "branch", "requirement", "target", "head", "seq", "time"]
ID = re.compile(r"^[0-9a-f]{40}$")

problems = []


def check(fact, what):
    if not fact:
        problems.append(what)


class Clone:
    """A working copy, as an agent has it."""

    def __init__(self, repository, place):
        self.place = pathlib.Path(place)
        self.new = []
        subprocess.run(["git", "clone", "-q", repository, str(self.place)], check=True)
        self.git("config", "user.name", "Agent")
        self.git("config", "user.email", "agent@example.invalid")

    def git(self, *args):
        done = subprocess.run(["git", "-C", str(self.place), *args], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def branch(self, name, files):
        self.git("switch", "-q", "-c", name, "origin/main")
        for path, text in files.items():
            file = self.place / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", f"work on {name}")
        self.new.append(name)
        return self.git("rev-parse", "HEAD")

    def push(self):
        self.git("push", "-q", "origin", *self.new)
        self.new = []


def announcement(agent, branch, requirement, **more):
    info = {"agent": agent, "branch": branch, "requirement": requirement, **more}
    return json.dumps({"type": "ready_to_merge", "merge_info": info}).encode()


def prepare(clone):
    """The branches: what each holds and how it is to end."""
    work = {}
    for n in range(24):
        agent = f"agent-{n % 10}"
        branch = f"{agent}/req-{n:03}"
        head = clone.branch(branch, {f"src/part{n}.txt": f"{n}\n"})
        more = {}
        if n % 2 == 0:  # The form that most agents write; the others send three fields.
            more = {
                "files_changed": [f"src/part{n}.txt"],
                "systems_touched": ["backend"],
                "priority": 1 + n % 3,
                "timestamp": time.time(),
            }
        work[branch] = {"agent": agent, "head": head, "more": more, "end": "lands"}
    for n in range(2):
        branch = f"clash/{n}"
        head = clone.branch(branch, {"README": f"as {n} has it\n"})
        work[branch] = {"agent": "clash", "head": head, "more": {}, "end": "one of two"}
        branch = f"red/{n}"
        head = clone.branch(branch, {"red": "", f"src/red{n}.txt": "x\n"})
        work[branch] = {"agent": "red", "head": head, "more": {}, "end": "red"}
    clone.push()
    return work


async def announce(js, work):
    for branch, one in work.items():
        payload = announcement(one["agent"], branch, f"REQ-{branch}", **one["more"])
        ack = await js.publish(f"work.integration.{one['agent']}", payload)
        check(ack.stream == "INTEGRATION", f"the announcement went to {ack.stream}")
    await js.publish("work.integration.agent-0", b"{ this is no JSON")
    await js.publish("work.integration.agent-0", b'{"type": "ready_to_merge", "merge_info": {"agent": "agent-0"}}')


async def read(js, enough):
    """Everything in the stream of events from its beginning, until it is enough."""
    config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL)
    events = await js.subscribe("work.releases.*", stream="RELEASES", config=config, ordered_consumer=True)
    seen, until = [], time.monotonic() + PATIENCE_S
    while not enough([body for _, _, body in seen]):
        if time.monotonic() > until:
            problems.append("the events do not come to an end")
            break
        try:
            message = await events.next_msg(timeout=1)
        except nats.errors.TimeoutError:
            continue
        seen.append((message.subject, message.headers or {}, json.loads(message.data)))
    await events.unsubscribe()
    return seen


def ended(bodies, branches):
    return {b["branch"] for b in bodies if b["type"] in TERMINAL} >= set(branches)


def check_events(seen, work):
    ids = [headers.get("Nats-Msg-Id") for _, headers, _ in seen]
    check(len(set(ids)) == len(ids) and None not in ids, "an event's id is missing or comes twice")
    per_request = {}
    for subject, headers, body in seen:
        kind = body["type"]
        check(subject == "work.releases." + re.sub("^(merge|request)_", "", kind), f"{kind} came on {subject}")
        for name in ["ce-id", "ce-type", "ce-source", "ce-time", "ce-specversion"]:
            check(headers.get(name), f"{kind} has no header {name}")
        if kind == "request_rejected":
            check(body["why"]["code"] in ("not_json", "missing_field"), f"rejected for {body['why']}")
            check(body["why"]["message"] and body["payload"], "a rejection does not say what was wrong")
            continue
        if "request" not in body:
            continue
        for field in COMMON:
            check(field in body, f"{kind} has no {field}")
        check(headers.get("ce-subject") == body["request"], f"ce-subject of {kind}")
        per_request.setdefault(body["request"], []).append(body)
    for request, events in per_request.items():
        kinds = [e["type"] for e in events]
        check([e["seq"] for e in events] == list(range(1, len(events) + 1)), f"{request} counts {kinds}")
        check(sum(k in TERMINAL for k in kinds) == 1 and kinds[-1] in TERMINAL, f"{request} has {kinds}")
        check(kinds[0] == "merge_queued", f"{request} begins with {kinds[0]}")
    check(sum(b["type"] == "request_rejected" for _, _, b in seen) == 2, "not two rejections")
    for branch, one in work.items():
        check(any(b.get("branch") == branch for _, _, b in seen), f"nothing was told of {branch}")


def check_ends(seen, work, clone):
    clone.git("fetch", "-q", "origin")
    history = clone.git("log", "--first-parent", "--format=%H", "origin/main").splitlines()
    ends = {b["branch"]: b for _, _, b in seen if b.get("type") in TERMINAL}
    for branch, one in work.items():
        end = ends.get(branch, {})
        landed = end.get("type") == "merge_complete"
        check(end.get("agent") == one["agent"] and end.get("head") == one["head"], f"{branch} ends as {end}")
        if landed:
            check(ID.match(end["commit"]) and history.count(end["commit"]) == 1, f"{branch} is not on main once")
            check(clone.git("rev-parse", end["commit"] + "^2") == one["head"], f"{branch} landed another head")
            check(clone.git("rev-parse", end["commit"] + "^{tree}") == end["tree"], f"{branch} has another tree")
        else:
            check(end.get("evidence", {}).get("message") and end.get("next"), f"{branch} does not say what to do")
        if one["end"] == "lands":
            check(landed, f"{branch} did not land: {end}")
        if one["end"] == "red":
            check((end.get("cause"), end.get("blame")) == ("gate_red", "own"), f"{branch} ends with {end}")
            check(end.get("evidence", {}).get("exit_code") == 1, f"{branch} tells no exit code")
    clash = sorted(ends[f"clash/{n}"]["type"] for n in range(2))
    check(clash == ["merge_complete", "merge_failed"], f"the two that clash end with {clash}")
    lost = next(e for b, e in ends.items() if b.startswith("clash/") and e["type"] == "merge_failed")
    check(lost["cause"] == "conflict" and lost["evidence"]["paths"] == ["README"], f"the conflict is {lost}")
    check(lost["evidence"].get("with"), "the conflict does not name the other side")
    check(len(history) == 1 + 25, f"main has {len(history)} commits")


async def call(client, verb, body=None):
    payload = b"" if body is None else json.dumps(body).encode()
    reply = await client.request(f"yardmaster.v1.{verb}", payload, timeout=30)
    return json.loads(reply.data), reply.headers or {}


async def check_service(client, clone):
    info = json.loads((await client.request("$SRV.INFO.yardmaster", timeout=5)).data)
    subjects = {e["subject"] for e in info["endpoints"]}
    wanted = {f"yardmaster.v1.{verb}" for verb in ["submit", "status", "queue", "withdraw", "logs"]}
    check(info["name"] == "yardmaster" and subjects >= wanted, f"the service offers {subjects}")

    status, _ = await call(client, "status")
    check(status["landed"] == 25 and status["failed"] == 3, f"the status is {status}")
    queue, _ = await call(client, "queue")
    check(queue["requests"] == [] and queue["targets"][0]["target"] == "main", f"the queue is {queue}")

    clone.branch("late/one", {"late.txt": "1\n"})
    clone.branch("late/two", {"two.txt": "2\n"})
    clone.push()
    late = {"agent": "late", "branch": "late/one", "requirement": "REQ-late"}
    submitted, _ = await call(client, "submit", {"type": "ready_to_merge", "merge_info": late})
    check(submitted["state"] == "queued" and not submitted["repeated"], f"submit answered {submitted}")
    waiting = {"agent": "late", "branch": "late/two", "requirement": "REQ-two", "depends_on": ["REQ-never"]}
    submitted, _ = await call(client, "submit", waiting)
    one, _ = await call(client, "status", {"what": submitted["request"]})
    check(one["state"] == "blocked" and one["blockers"][0]["until"], f"the status of what waits is {one}")
    withdrawn, _ = await call(client, "withdraw", {"what": "late/two", "by": "late"})
    check(withdrawn == {"request": submitted["request"]}, f"withdraw answered {withdrawn}")
    again, headers = await call(client, "withdraw", {"what": "late/two", "by": "late"})
    check(again["ok"] is False and again["error"]["code"] == "conflict", f"withdraw twice answered {again}")
    check(headers.get("Nats-Service-Error-Code"), "an error has no service header")
    nobody, _ = await call(client, "status", {"what": "r9999"})
    check(nobody["ok"] is False and nobody["error"]["code"] == "not_found", f"status of nobody: {nobody}")


async def main(url, repository):
    client = await nats.connect(url, connect_timeout=5)
    js = client.jetstream()
    copies = []

    async def keep(message):
        copies.append(json.loads(message.data))

    await client.subscribe("work.agents.agent-3", cb=keep)
    with tempfile.TemporaryDirectory() as place:
        clone = Clone(repository, place + "/clone")
        work = prepare(clone)
        await announce(js, work)
        rejected = lambda bodies: sum(b["type"] == "request_rejected" for b in bodies) >= 2
        seen = await read(js, lambda bodies: ended([b for b in bodies if "branch" in b], work) and rejected(bodies))
        check_events(seen, work)
        check_ends(seen, work, clone)
        own = [b for _, _, b in seen if b.get("agent") == "agent-3"]
        check(own and copies == own, f"agent-3 got {len(copies)} copies of {len(own)} events")
        await check_service(client, clone)
        seen = await read(js, lambda bodies: ended([b for b in bodies if "branch" in b], ["late/one", "late/two"]))
        ends = {b["branch"]: b["type"] for _, _, b in seen if b.get("type") in TERMINAL}
        check(ends.get("late/one") == "merge_complete", f"late/one ends with {ends.get('late/one')}")
        check(ends.get("late/two") == "merge_withdrawn", f"late/two ends with {ends.get('late/two')}")
    await client.drain()


asyncio.run(main(sys.argv[1], sys.argv[2]))
for problem in problems:
    print(problem, file=sys.stderr)
sys.exit(1 if problems else 0)
