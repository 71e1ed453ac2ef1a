// @vitest-environment jsdom
import { beforeEach, expect, test } from "vitest";
import { Waits, isQuiet, keepSettings, newsOf, readSettings } from "./telling";

beforeEach(() => localStorage.clear());

const settings = { isOn: true, after: 60, quiet: "" };
const turn = (turnId: string, state: "complete" | "failed" | "aborted" | "interrupted", seconds: number) => ({
  turnId,
  state,
  sessionId: "s",
  title: "t",
  createdAt: 0,
  finishedAt: seconds * 1_000,
});

test("only what waits, failed or took long is worth a word", () => {
  const ended = [turn("e", "interrupted", 1), turn("d", "aborted", 99), turn("c", "failed", 1), turn("b", "complete", 60), turn("a", "complete", 59)];
  const waiting = [{ requestId: "r", sessionId: "s", title: "t", kind: "question", askedAt: 1 }];
  expect(newsOf({ waiting, ended }, settings).map(({ id, text }) => [id, text])).toEqual([
    ["b", "has answered"],
    ["c", "has failed"],
    ["e", "has failed"],
    ["r", "waits for you"],
  ]);
});

test("what nobody answers for two minutes is overdue, whatever else happens meanwhile", () => {
  const asked = (requestId: string) => ({ requestId, sessionId: "s", title: "t", kind: "question", askedAt: 1 });
  const news = (...waiting: string[]) => newsOf({ waiting: waiting.map(asked), ended: [turn("c", "failed", 1)] }, settings);
  const waits = new Waits();
  waits.heard(news("r"), 1_000);
  waits.heard(news("r", "later"), 60_000);
  expect(waits.isOverdue("r", 120_999)).toBe(false);
  expect(["r", "later", "c"].map((id) => waits.isOverdue(id, 121_000))).toEqual([true, false, false]);
  waits.heard(news("later"), 121_000);
  waits.heard(news("later", "r"), 122_000);
  expect(["r", "later"].map((id) => waits.isOverdue(id, 180_000))).toEqual([false, true]);
});

test("quiet hours go over midnight, and none that can be read are none", () => {
  expect([22 * 60, 0, 7 * 60 - 1, 7 * 60, 12 * 60].map((minute) => isQuiet("22:00-07:00", minute))).toEqual([true, true, true, false, false]);
  for (const text of ["", "22-7", "all day"]) expect(isQuiet(text, 0)).toBe(false);
});

test("settings are kept on this device, and damaged ones are the first ones", () => {
  expect(readSettings().isOn).toBe(false);
  keepSettings({ isOn: true, after: 5, quiet: "22:00-07:00" });
  expect(readSettings()).toEqual({ isOn: true, after: 5, quiet: "22:00-07:00" });
  localStorage.setItem("orchestrator.telling", "{");
  expect(readSettings().isOn).toBe(false);
});
