// Machines and their workers, as they stand: who may serve, and who is there.

import { api, type Machine, type Worker } from "../data/api";
import { useNow, useQuery, useWorld } from "../data/hooks";
import { forgetToken } from "../data/identity";
import { address } from "../route";
import { ago } from "../text/words";
import { Act } from "./Act";
import { Devices } from "./Devices";
import { TellingSettings } from "./Telling";
import { StandingMark, usePresence, type WorkerStanding } from "./presence";

export function Machines() {
  const machines = useQuery(api.machines.list, {});
  const workers = useQuery(api.workers.list, {});
  const standing = usePresence();
  const { connection } = useWorld();
  const error = machines.error ?? workers.error;
  return (
    <div class="page">
      <header class="bar">
        <a class="back" href={address({ name: "sessions" })} aria-label="Back to the sessions">
          ‹
        </a>
        <h1 data-heading tabIndex={-1}>
          Machines
        </h1>
        <button type="button" class="quiet" onClick={() => (forgetToken(), connection.signOut())}>
          Sign out
        </button>
      </header>
      <div class="content">
        {error && (
          <p class="problem" role="alert">
            {error.message}
          </p>
        )}
        {!error && (machines.value === undefined || workers.value === undefined) && <p class="hint">Loading…</p>}
        {machines.value?.length === 0 && (
          <p class="hint">
            No machines yet. On one of yours: <code>orchestrator run --local</code>
          </p>
        )}
        {machines.value?.map((machine) => (
          <MachineCard
            key={machine.machineId}
            machine={machine}
            workers={workers.value?.filter((worker) => worker.machineId === machine.machineId) ?? []}
            standing={standing}
          />
        ))}
        <Devices />
        <TellingSettings />
        <p class="hint">
          Another directory is added on its machine: <code>orchestrator worker add DIR</code>. It is listed here, and serves once
          you approve it.
        </p>
      </div>
    </div>
  );
}

interface CardProps {
  machine: Machine;
  workers: Worker[];
  standing: (worker: Worker) => WorkerStanding;
}

function MachineCard({ machine, workers, standing }: CardProps) {
  const now = useNow(30_000);
  // The machine's own row is only written when a supervisor connects; one that is there needs no date.
  const isThere = workers.some((worker) => standing(worker) === "online");
  return (
    <section class="card" aria-labelledby={`machine-${machine.machineId}`}>
      <h2 id={`machine-${machine.machineId}`}>{machine.name}</h2>
      <p class="meta">
        {machine.hostname} · {machine.os} · {machine.tools.join(", ") || "no assistants"}
        {!isThere && ` · last connected ${ago(machine.lastSeenAt, now)}${/\d (min|h)$/.test(ago(machine.lastSeenAt, now)) ? " ago" : ""}`}
      </p>
      {workers.length === 0 && <p class="hint">No workers.</p>}
      <ul class="workers">
        {workers.map((worker) => (
          <WorkerRow key={worker.workerId} worker={worker} standing={standing(worker)} />
        ))}
      </ul>
    </section>
  );
}

function WorkerRow({ worker, standing }: { worker: Worker; standing: WorkerStanding }) {
  const { client } = useWorld().connection;
  const { workerId } = worker;
  const approve = () => client.mutation(api.workers.approve, { workerId });
  const revoke = () => client.mutation(api.workers.revoke, { workerId });
  return (
    <li data-worker={workerId}>
      <div class="who">
        <strong>{worker.name}</strong> <StandingMark standing={standing} />
        <span class="meta path">{worker.directory}</span>
      </div>
      <div class="acts">
        {worker.state === "approved" && (
          <a class="button" href={address({ name: "new", workerId })}>
            New session
          </a>
        )}
        {worker.state === "pending" && <Act label="Approve" kind="primary" act={approve} />}
        {worker.state === "revoked" && <Act label="Restore" question="Its old token is valid again: restore?" act={approve} />}
        {worker.state !== "revoked" && <Act label="Revoke" question="Stops its assistants: revoke?" kind="danger" act={revoke} />}
      </div>
    </li>
  );
}
