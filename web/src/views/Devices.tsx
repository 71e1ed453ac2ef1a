// The devices that are paired, this one among them, and taking them back. A paired device can give up itself alone; whoever
// signed in with the owner's key can revoke any.

import { api, type Device } from "../data/api";
import { useNow, useQuery, useWorld } from "../data/hooks";
import { ago } from "../text/words";
import { Act } from "./Act";

export function Devices() {
  const { value, error } = useQuery(api.devices.list, {});
  const now = useNow(30_000);
  const listed = value?.filter((device) => device.state === "paired" || (device.state === "open" && device.openUntil > now)) ?? [];
  const self = value?.find((device) => device.isThis);
  return (
    <section class="card" aria-labelledby="devices">
      <h2 id="devices">Devices</h2>
      {error && (
        <p class="problem" role="alert">
          {error.message}
        </p>
      )}
      {value !== undefined && listed.length === 0 && <p class="hint">None is paired.</p>}
      <ul class="workers">
        {listed.map((device) => (
          <DeviceRow key={device.deviceId} device={device} now={now} mayRevoke={self === undefined || device.isThis} />
        ))}
      </ul>
      <p class="hint">
        Another one is paired by the code that <code>orchestrator pair</code> prints.
      </p>
    </section>
  );
}

function DeviceRow({ device, now, mayRevoke }: { device: Device; now: number; mayRevoke: boolean }) {
  const { client } = useWorld().connection;
  const { deviceId } = device;
  const name = device.name === "" ? deviceId : device.name;
  return (
    <li data-device={deviceId}>
      <div class="who">
        <strong>{name}</strong> {device.isThis && <span class="meta">this one</span>}
        <span class="meta">
          {device.state === "open" ? "its code waits to be used" : device.seenAt === undefined ? "not used yet" : `used ${ago(device.seenAt, now)}`}
        </span>
      </div>
      <div class="acts">
        {mayRevoke && (
          <Act
            label={device.isThis ? "Unpair" : "Revoke"}
            question={device.isThis ? "Signs this one out: unpair?" : "Signs it out: revoke?"}
            kind="danger"
            act={() => client.mutation(api.devices.revoke, { deviceId })}
          />
        )}
      </div>
    </li>
  );
}
