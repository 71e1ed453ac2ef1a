// With which model, and as which agent, the next message is answered: chosen from what the worker's assistant has said. A model is
// free text as well: one that is not listed may be there by now, and a list may not have come yet.

import { api } from "../data/api";
import { useQuery } from "../data/hooks";

export interface Chosen {
  model: string;
  agent: string;
}

interface Props {
  workerId: string | undefined;
  /** The session's own model, shown where none is chosen. */
  fallback: string | undefined;
  value: Chosen;
  choose: (chosen: Chosen) => void;
}

export function Choices({ workerId, fallback, value, choose }: Props) {
  const { value: offered } = useQuery(api.choices.get, workerId === undefined ? "skip" : { workerId });
  const agents = offered?.agents.map(({ name }) => name) ?? [];
  // What was chosen before stays to be seen, and to be taken back.
  if (value.agent !== "" && !agents.includes(value.agent)) agents.push(value.agent);
  return (
    <div class="choices">
      <label class="model">
        Model{" "}
        <input
          list="models"
          value={value.model}
          placeholder={fallback ?? "the assistant's own"}
          spellcheck={false}
          autocomplete="off"
          autocapitalize="none"
          onInput={(event) => choose({ ...value, model: event.currentTarget.value })}
        />
        <datalist id="models">
          {offered?.models.map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
        </datalist>
      </label>
      {agents.length > 0 && (
        <label class="model">
          Agent{" "}
          <select value={value.agent} onChange={(event) => choose({ ...value, agent: event.currentTarget.value })}>
            <option value="">the assistant's own</option>
            {agents.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
      )}
    </div>
  );
}
