// Who are you? Takes a pairing code or an owner's token by hand, says what became of the last one, and lets somebody name another
// deployment. Drafts and messages on their way are untouched by all of it.

import { useState } from "preact/hooks";
import { mayTalkTo, parseDeployment, tryDeployment } from "../data/address";
import type { Connection, Sign } from "../data/connection";
import { useStanding } from "../data/hooks";
import { claims, forgetToken, keepToken, pairingCode } from "../data/identity";
import { NOT_FROM_HERE } from "./Elsewhere";

export function SignIn({ sign, connection }: { sign: Sign; connection: Connection }) {
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const { problem: told } = useStanding();
  const submit = (event: Event) => {
    event.preventDefault();
    const text = token.trim();
    const code = pairingCode(text);
    if (code !== null) {
      setProblem(null);
      setToken("");
      void connection.pair(code);
      return;
    }
    if (claims(text) === null) {
      setProblem(
        text.startsWith("machine_")
          ? "That is a worker's token: it proves a machine. An owner's token comes from `orchestrator owner token`."
          : "That is neither a pairing code nor an owner's token, which has three parts with dots between them.",
      );
      return;
    }
    setProblem(null);
    setToken("");
    keepToken(text);
    connection.signIn(text);
  };
  return (
    <main class="sign-in">
      <h1 data-heading tabIndex={-1}>
        orchestrator
      </h1>
      <Said sign={sign} expiresAt={connection.expiresAt()} />
      {told !== undefined && sign !== "unpaired" && sign !== "failed" && (
        <p role="alert" class="problem">
          {told}
        </p>
      )}
      {sign === "checking" || sign === "pairing" ? (
        <button type="button" onClick={() => (sign === "pairing" ? connection.cancelPairing() : (forgetToken(), connection.signOut()))}>
          {sign === "pairing" ? "Cancel" : "Use another token"}
        </button>
      ) : (
        <form onSubmit={submit}>
          <label for="token">Pairing code or owner's token</label>
          <input
            id="token"
            type="password"
            autocomplete="off"
            spellcheck={false}
            required
            value={token}
            aria-describedby="token-help token-problem"
            aria-invalid={problem !== null}
            onInput={(event) => setToken(event.currentTarget.value)}
          />
          <p id="token-problem" class="problem" role="alert">
            {problem}
          </p>
          <p id="token-help" class="help">
            On the machine that has your key, <code>orchestrator pair</code> prints a code for this browser, good once;{" "}
            <code>orchestrator owner token</code> prints a token, good for 15 minutes. Either stays in this browser.
          </p>
          <button class="primary" type="submit">
            Sign in
          </button>
        </form>
      )}
      <Deployment connection={connection} />
    </main>
  );
}

function Said({ sign, expiresAt }: { sign: Sign; expiresAt: number | null }) {
  const { problem } = useStanding();
  const at = expiresAt === null ? "" : ` (${new Date(expiresAt).toLocaleTimeString()})`;
  switch (sign) {
    case "checking":
      return <p role="status">Signing in…</p>;
    case "pairing":
      return <p role="status">Pairing this browser…</p>;
    case "unpaired":
      return (
        <p role="alert" class="problem" data-sign="unpaired">
          {problem}
        </p>
      );
    case "failed":
      return (
        <p role="alert" class="problem" data-sign="failed">
          The deployment could not say whether this device is paired: {problem} It is asked again when the connection is made anew; a version that
          knows no devices takes an owner's token alone.
        </p>
      );
    case "revoked":
      return (
        <p role="alert" class="problem" data-sign="revoked">
          This device is not paired any more: its owner has revoked it. What you wrote and did not send is still here.
        </p>
      );
    case "expired":
      return (
        <p role="alert" class="problem" data-sign="expired">
          Your token has expired{at}. Paste a new one to go on where you were; nothing you wrote is lost.
        </p>
      );
    case "refused":
      return (
        <p role="alert" class="problem" data-sign="refused">
          The deployment does not accept this token. It may be of another owner or for another deployment; or this machine's
          key was exchanged since.
        </p>
      );
    default:
      return <p>Sessions with the assistants on your machines.</p>;
  }
}

function Deployment({ connection }: { connection: Connection }) {
  const [url, setUrl] = useState(connection.url);
  const [problem, setProblem] = useState<string | null>(null);
  const submit = async (event: Event) => {
    event.preventDefault();
    const parsed = url.trim() === "" ? { url: location.origin } : parseDeployment(url.trim());
    if ("problem" in parsed) return setProblem(parsed.problem);
    if (!(await mayTalkTo(parsed.url))) return setProblem(NOT_FROM_HERE);
    setProblem(tryDeployment(parsed.url));
    location.reload();
  };
  return (
    <details class="deployment">
      <summary>
        Deployment: <code>{connection.url}</code>
      </summary>
      <form onSubmit={(event) => void submit(event)}>
        <label for="deployment">Another deployment's address</label>
        <input
          id="deployment"
          type="url"
          inputMode="url"
          autocomplete="off"
          value={url}
          aria-describedby="deployment-problem"
          onInput={(event) => setUrl(event.currentTarget.value)}
        />
        <p id="deployment-problem" class="problem" role="alert">
          {problem}
        </p>
        <button type="submit">Use it</button>
      </form>
    </details>
  );
}
