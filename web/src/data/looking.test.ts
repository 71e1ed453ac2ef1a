// @vitest-environment jsdom
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { LOOKS_FOR_MS, watchLooks } from "./looking";

let said: boolean[] = [];
let end = () => {};

beforeEach(() => {
  vi.useFakeTimers();
  said = [];
  Object.defineProperty(document, "visibilityState", { value: "visible", configurable: true });
  // somebody opens it
  end = watchLooks(() => {});
  window.dispatchEvent(new Event("focus"));
  end();
  end = watchLooks((looks) => said.push(looks));
});
afterEach(() => {
  end();
  vi.useRealTimers();
});

test("a page that is open on a screen that nobody touches looks at nothing", () => {
  vi.advanceTimersByTime(LOOKS_FOR_MS - 1);
  expect(said).toEqual([true, true, true, true, true, true]);
  vi.advanceTimersByTime(LOOKS_FOR_MS);
  expect(said.slice(6)).toEqual([false]);
  // the connection goes and comes back
  end();
  end = watchLooks((looks) => said.push(looks));
  vi.advanceTimersByTime(LOOKS_FOR_MS);
  window.dispatchEvent(new Event("scroll"));
  expect(said.slice(7)).toEqual([]);
});

test("whoever comes back looks again at once, and goes on for as long as they do something", () => {
  vi.advanceTimersByTime(LOOKS_FOR_MS * 2);
  said = [];
  window.dispatchEvent(new Event("pointermove"));
  expect(said).toEqual([true]);
  for (let at = 0; at < 10; at++) {
    vi.advanceTimersByTime(LOOKS_FOR_MS - 1);
    document.body.dispatchEvent(new Event("keydown", { bubbles: true }));
  }
  expect(said).not.toContain(false);
});

test("a page that is turned away from is not looked at, and one that is turned to is", () => {
  const show = (state: string) => {
    Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  };
  show("hidden");
  vi.advanceTimersByTime(LOOKS_FOR_MS * 2);
  expect(said).toEqual([true, false]);
  show("visible");
  expect(said).toEqual([true, false, true]);
});
