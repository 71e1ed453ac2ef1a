// Notifications of this device: what tells them while the page is open, and the settings for it.

import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../data/api";
import { useNow, useQuery, useWorld } from "../data/hooks";
import { PushSettings } from "./Pushing";
import { Waits, askToTell, canTell, isQuiet, keepSettings, newsOf, readSettings, tell } from "../data/telling";

/** How often what waits and was not told is looked at again. */
const LOOK_AGAIN_MS = 15_000;

/** Shows nothing. */
export function Telling() {
  const { value } = useQuery(api.notices.recent, {});
  const { client } = useWorld().connection;
  const now = useNow(LOOK_AGAIN_MS);
  const told = useRef<Set<string> | null>(null);
  const waits = useRef(new Waits()).current;
  useEffect(() => {
    if (value === undefined) return;
    const settings = readSettings();
    // What was there when the page came is no news.
    if (told.current === null) told.current = new Set([...value.ended.map((turn) => turn.turnId), ...value.waiting.map((request) => request.requestId)]);
    const known = told.current;
    const clock = new Date();
    const isSilent = !settings.isOn || isQuiet(settings.quiet, clock.getHours() * 60 + clock.getMinutes());
    const all = newsOf(value, settings);
    waits.heard(all, performance.now());
    for (const news of all) {
      if (known.has(news.id)) continue;
      // What waits is told when the quiet hours are over, what has ended is not.
      if (!isSilent || !news.isWaiting) known.add(news.id);
      if (isSilent) continue;
      const say = async () => {
        const isSeen = !waits.isOverdue(news.id, performance.now()) && (await client.query(api.viewers.watched, { sessionId: news.sessionId }));
        if (!isSeen) await tell(news);
        // Whoever goes away without an answer is told after all, and so is who looks on for minutes without one.
        else if (news.isWaiting) known.delete(news.id);
      };
      say().catch(() => known.delete(news.id));
    }
  }, [value, client, now]);
  return null;
}

export function TellingSettings() {
  const [settings, setSettings] = useState(readSettings);
  const [isDenied, setIsDenied] = useState(canTell() && Notification.permission === "denied");
  const change = (part: Partial<typeof settings>) => {
    const next = { ...settings, ...part };
    setSettings(next);
    keepSettings(next);
  };
  const turn = async (isOn: boolean) => {
    const may = !isOn || (await askToTell());
    setIsDenied(!may);
    change({ isOn: isOn && may });
  };
  return (
    <section class="card" aria-labelledby="telling">
      <h2 id="telling">Notifications on this device</h2>
      {!canTell() && <p class="hint">This browser has none here: they need https:// or this machine's own address.</p>}
      <label class="check">
        <input type="checkbox" checked={settings.isOn} disabled={!canTell()} onChange={(event) => void turn(event.currentTarget.checked)} /> Tell me
        what waits for me, fails or took long, while this page is open
      </label>
      {isDenied && (
        <p class="problem" role="alert">
          The browser does not allow it: change that in its settings for this page.
        </p>
      )}
      <PushSettings />
      {settings.isOn && (
        <div class="fields">
          <label>
            Long is, in seconds
            <input
              type="number"
              min={1}
              max={86_400}
              value={settings.after}
              onChange={(event) => change({ after: Math.min(86_400, Math.max(1, event.currentTarget.valueAsNumber || 60)) })}
            />
          </label>
          <label>
            Quiet hours
            <input type="text" placeholder="22:00-07:00" value={settings.quiet} onChange={(event) => change({ quiet: event.currentTarget.value })} />
          </label>
        </div>
      )}
    </section>
  );
}
