// A supervisor that the scenario plays itself: a worker of its own with one claimed turn, so that what is asked, said and
// counted is the scenario's to decide.

import { assert, env, token, url } from "./harness.mjs";

export async function call(kind, path, args) {
  const answer = await fetch(`${url}/api/${kind}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
    body: JSON.stringify({ path, args, format: "json" }),
  });
  const { status, value, errorMessage } = await answer.json();
  assert.equal(status, "success", errorMessage);
  return value;
}

/** A worker of our own, with its one claimed turn and what goes into it. */
export async function supervisor() {
  const workerId = "played";
  const { token } = await call("mutation", "workers:create", { workerId, machineId: env("PAGE_MACHINE"), name: "played", directory: "/srv/played" });
  await call("mutation", "workers:approve", { workerId });
  const ids = { installId: "i", startId: "s", bootId: "b", storeId: "o" };
  const machine = { hostname: "played", os: "linux", tools: [] };
  const { epoch } = await call("mutation", "workers:connect", { token, ...ids, takeOver: false, machine });
  const { sessionId, turnId } = await call("mutation", "messages:send", { id: "long", workerId, content: "a long one" });
  await call("mutation", "messages:claim", { token, epoch, turnId });
  let index = 0;
  const append = async (pieces) => {
    const items = pieces.map(([partId, kind, content]) => ({ index: index++, timestamp: Date.now(), partId, kind, content }));
    const { results } = await call("mutation", "chunks:append", { batches: [{ token, epoch, turn: turnId, items }] });
    assert.equal(results[0].status, "ok", results[0].message);
  };
  const finish = () => call("mutation", "messages:finish", { token, epoch, turnId, outcome: "complete", items: [] });
  /** Asks the owner; gives the request's id. */
  const ask = async (requestId, request, timeoutMs = 600_000) => {
    await call("mutation", "permissions:ask", { token, epoch, requestId, turnId, timeoutMs, ...request });
    return requestId;
  };
  const take = (requestId) => call("mutation", "permissions:take", { token, epoch, requestId });
  /** Makes a key known for push messages. */
  const offer = (publicKey) => call("mutation", "push:offer", { token, installId: ids.installId, publicKey });
  return { offer, workerId, sessionId, turnId, append, finish, ask, take };
}
