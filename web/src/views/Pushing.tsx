// Notices of this device while its page is closed: the switch for them, and what keeps them going.

import { useEffect, useState } from "preact/hooks";
import { api } from "../data/api";
import { useQuery, useWorld } from "../data/hooks";
import { mayPush, subscribeTo, unsubscribeAll, whyNot } from "../data/push";
import { refusalOf } from "../data/refusal";
import { read, write } from "../data/store";

const KEY = "push";
const isOn = () => read(KEY) === "on";

/** Shows nothing. A machine that came later, or has another key, is subscribed to when the page is opened, if that was switched on here. */
export function Pushing() {
  const { value } = useQuery(api.push.senders, {});
  const { client } = useWorld().connection;
  useEffect(() => {
    if (!value?.isDevice || !isOn() || whyNot() !== null || Notification.permission !== "granted") return;
    for (const sender of value.senders.filter(({ isSubscribed }) => !isSubscribed)) {
      // What fails is seen at the switch, which says how many machines tell.
      subscribeTo(sender)
        .then((subscription) => client.mutation(api.push.subscribe, subscription))
        .catch(() => undefined);
    }
  }, [value, client]);
  // A notification was pressed while the page is open.
  useEffect(() => {
    if (!("serviceWorker" in navigator)) return;
    const opened = ({ data }: MessageEvent) => {
      const { place } = (data ?? {}) as { place?: unknown };
      if (typeof place === "string" && /^#\/session\/[A-Za-z0-9_-]+$/.test(place)) location.hash = place;
    };
    navigator.serviceWorker.addEventListener("message", opened);
    return () => navigator.serviceWorker.removeEventListener("message", opened);
  }, []);
  return null;
}

export function PushSettings() {
  const { value, error } = useQuery(api.push.senders, {});
  const { client } = useWorld().connection;
  const [isBusy, setIsBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  if (value === undefined) return error === undefined ? null : <p class="hint">{error.message}</p>;
  const { senders, isDevice } = value;
  const telling = senders.filter(({ isSubscribed }) => isSubscribed).length;
  const reason =
    whyNot() ??
    (isDevice ? null : "Only a paired device can be told while its page is closed: orchestrator pair.") ??
    (senders.length > 0 ? null : "No machine sends any: it does with notify_push in its configuration, or --notify-push beside --local.");
  const turn = async (on: boolean) => {
    setIsBusy(true);
    setProblem(null);
    try {
      if (!on) {
        write(KEY, "off");
        await client.mutation(api.push.unsubscribe, {});
        await unsubscribeAll();
      } else if (await mayPush()) {
        for (const sender of senders) await client.mutation(api.push.subscribe, await subscribeTo(sender));
        write(KEY, "on");
      } else {
        setProblem("The browser was not allowed to show notifications.");
      }
    } catch (failure) {
      setProblem(failure instanceof DOMException ? `The browser's push service does not take it: ${failure.message}` : refusalOf(failure).message);
    } finally {
      setIsBusy(false);
    }
  };
  return (
    <>
      <label class="check">
        <input
          type="checkbox"
          checked={telling > 0}
          disabled={isBusy || (reason !== null && telling === 0)}
          onChange={(event) => void turn(event.currentTarget.checked)}
        />{" "}
        Also while this page is closed, over the browser's push service
      </label>
      {reason !== null && <p class="hint" data-push="reason">{reason}</p>}
      {telling > 0 && (
        <p class="hint">
          {telling === senders.length ? "Told by" : `${telling} of ${senders.length} machines tell`}{" "}
          {senders.flatMap(({ machine, isSubscribed }) => (isSubscribed ? [machine] : [])).join(", ")}.
        </p>
      )}
      {problem !== null && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
    </>
  );
}
