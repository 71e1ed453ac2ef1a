import { describe, expect, test } from "vitest";
import { api, code, deployment, ownerOf, servedWorker, strangerOf } from "./deployment.fixture";

const models = [{ id: "openrouter/anthropic/x", name: "X", default: true }, { id: "fake/scripted", name: "", default: false }];
const agents = [{ name: "build" }, { name: "plan" }];

describe("what a worker's messages can name", () => {
  test("is what its supervisor said last, and its owner's to see", async () => {
    const t = deployment();
    const { token } = await servedWorker(t);
    const seen = () => ownerOf(t).query(api.choices.get, { workerId: "w1" });
    expect(await seen()).toBeNull();
    await t.mutation(api.choices.report, { token, models, agents });
    await t.mutation(api.choices.report, { token, models, agents });
    expect(await seen()).toEqual({ models, agents });
    await t.mutation(api.choices.report, { token, models: [], agents });
    expect(await seen()).toEqual({ models: [], agents });
    expect(await code(strangerOf(t).query(api.choices.get, { workerId: "w1" }))).toBe("forbidden");
    expect(await code(t.query(api.choices.get, { workerId: "w1" }))).toBe("unauthorized");
    await ownerOf(t).mutation(api.workers.remove, { workerId: "w1" });
    expect(await t.run(async (ctx) => (await ctx.db.query("workerChoices").collect()).length)).toBe(0);
  });

  test("is bounded, and nobody's to say but an approved worker's", async () => {
    const t = deployment();
    const { token } = await servedWorker(t);
    const report = (more: object) => code(t.mutation(api.choices.report, { token, models, agents, ...more }));
    expect(await report({ token: "machine_m1:worker_w1:secret_x" })).toBe("unauthorized");
    expect(await report({ models: Array.from({ length: 501 }, (_, at) => ({ id: `m/${at}`, name: "", default: false })) })).toBe("too_large");
    expect(await report({ agents: Array.from({ length: 51 }, (_, at) => ({ name: `a${at}` })) })).toBe("too_large");
    for (const id of ["", "a\nb", "x".repeat(301)]) expect(await report({ models: [{ id, name: "", default: false }] })).toBe("invalid");
    expect(await report({ agents: [{ name: "" }] })).toBe("invalid");
    await ownerOf(t).mutation(api.workers.revoke, { workerId: "w1" });
    expect(await report({})).toBe("revoked");
  });
});
