import { describe, expect, test } from "vitest";
import { BEAT_TTL_MS, Clock } from "./presence";

const T = 1_800_000_000_000;
const beat = (lastBeat: number, disconnected = false) => ({ workerId: "w", lastBeat, disconnected });

describe("a worker", () => {
  test("is online for 35 s after its beat", () => {
    const clock = new Clock();
    clock.arrived([beat(T - 2_000)], T);
    expect(clock.standing(beat(T - 2_000), T)).toBe("online");
    clock.arrived([beat(T + 8_000)], T + 8_000);
    expect(clock.standing(beat(T + 8_000), T + 8_000 + BEAT_TTL_MS - 1)).toBe("online");
    expect(clock.standing(beat(T + 8_000), T + 8_000 + BEAT_TTL_MS)).toBe("offline");
  });

  test("that said goodbye, or never came, is offline at once", () => {
    const clock = new Clock();
    clock.arrived([beat(T, true)], T);
    expect(clock.standing(beat(T, true), T)).toBe("offline");
    expect(clock.standing(undefined, T)).toBe("offline");
  });

  test.each([-3_600_000, 3_600_000])("is judged rightly on a phone whose clock is off by %i ms", (off) => {
    const clock = new Clock();
    const phone = T + off;
    clock.arrived([beat(T - 3_000)], phone);
    expect(clock.standing(beat(T - 3_000), phone)).not.toBe("offline");
    clock.arrived([beat(T + 7_000)], phone + 7_000);
    expect(clock.standing(beat(T + 7_000), phone + 7_000)).toBe("online");
    expect(clock.standing(beat(T + 7_000), phone + 7_000 + BEAT_TTL_MS)).toBe("offline");
  });

  test("whose last beat is old is looked at for one round of beats before it is called offline", () => {
    const clock = new Clock();
    clock.arrived([beat(T - 100_000)], T);
    expect(clock.standing(beat(T - 100_000), T + 1_000)).toBe("checking");
    expect(clock.standing(beat(T - 100_000), T + 13_000)).toBe("offline");
  });
});
