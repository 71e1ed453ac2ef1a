// What a session's assistant waits for: permissions and questions, above the place to write. Nothing is decided here: an
// answer that came too late is told as such, and a card goes when the deployment says that nobody waits any more.

import { useEffect, useRef, useState } from "preact/hooks";
import { api, type Request } from "../data/api";
import { useNow, useQuery, useWorld } from "../data/hooks";
import { refusalOf } from "../data/refusal";
import { duration } from "../text/words";

type Reply = { reply: "once" | "always" | "reject" | "answer"; message?: string; answers?: { options: string[]; text?: string }[] };

const SAY_DEADLINE_BEFORE_MS = 10 * 60_000;

/** Nobody reads and answers in less: such a press was meant for what stood there before. */
const READ_AT_LEAST_MS = 500;

/** Whether what stands there has stood long enough to be read. */
function useIsRead(what: string): boolean {
  const [read, setRead] = useState<string | null>(null);
  useEffect(() => {
    const timer = setTimeout(() => setRead(what), READ_AT_LEAST_MS);
    return () => clearTimeout(timer);
  }, [what]);
  return read === what;
}

export function Requests({ sessionId }: { sessionId: string }) {
  const { value, error } = useQuery(api.permissions.list, { sessionId });
  const { client } = useWorld().connection;
  const [late, setLate] = useState<string | null>(null);
  useEffect(() => setLate(null), [sessionId]);
  const answer = async (requestId: string, reply: Reply) => {
    setLate(null);
    try {
      await client.mutation(api.permissions.answer, { requestId, ...reply });
    } catch (problem) {
      const refusal = refusalOf(problem);
      // The card is about to go, so the word about it must not go with it.
      if (refusal.code !== "gone") throw problem;
      setLate(refusal.message);
    }
  };
  const isRead = useIsRead(value?.map(({ requestId }) => requestId).join() ?? "");
  const trouble = error?.message ?? late;
  if (!trouble && !value?.length) return null;
  return (
    <section class="requests" aria-label="Waits for your answer">
      {trouble && (
        <p class="problem" role="alert">
          {trouble}{" "}
          {late && (
            <button type="button" class="quiet" onClick={() => setLate(null)}>
              Close
            </button>
          )}
        </p>
      )}
      {value?.map((request) => (
        <Card key={request.requestId} request={request} isRead={isRead} answer={(reply) => answer(request.requestId, reply)} />
      ))}
    </section>
  );
}

interface CardProps {
  request: Request;
  isRead: boolean;
  answer: (reply: Reply) => Promise<void>;
}

function Card({ request, isRead, answer }: CardProps) {
  const [isGiving, setIsBusy] = useState(false);
  const isBusy = isGiving || !isRead;
  const [problem, setProblem] = useState<string | null>(null);
  const isMounted = useRef(true);
  useEffect(() => () => void (isMounted.current = false), []);
  const give = async (reply: Reply) => {
    setIsBusy(true);
    setProblem(null);
    try {
      await answer(reply);
    } catch (error) {
      if (isMounted.current) setProblem(refusalOf(error).message);
    } finally {
      if (isMounted.current) setIsBusy(false);
    }
  };
  const heading = `request-${request.requestId}`;
  return (
    <article class="request" data-request={request.kind} aria-labelledby={heading}>
      <h2 id={heading}>
        {request.kind === "permission" ? "May it?" : "It asks"} <span class="asked">{request.title}</span>
      </h2>
      <p class="meta">
        {request.permission && <code>{request.permission}</code>}
        {request.from && <span>asked by {request.from}</span>}
        <Left until={request.deadline} />
      </p>
      {request.details && (
        <pre class="details" tabIndex={0} aria-label="What it is about">
          {request.details}
        </pre>
      )}
      {request.kind === "permission" ? (
        <Permission request={request} isBusy={isBusy} give={give} />
      ) : (
        <Questions request={request} isBusy={isBusy} give={give} />
      )}
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
    </article>
  );
}

interface FormProps {
  request: Request;
  isBusy: boolean;
  give: (reply: Reply) => Promise<void>;
}

function Permission({ request, isBusy, give }: FormProps) {
  const [isRejecting, setIsRejecting] = useState(false);
  const [message, setMessage] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => field.current?.focus(), [isRejecting]);
  if (isRejecting) {
    const text = message.trim();
    return (
      <form onSubmit={(event) => (event.preventDefault(), void give({ reply: "reject", ...(text === "" ? {} : { message: text }) }))}>
        <label>
          What it should know <span class="meta">(or leave it empty)</span>
          <textarea ref={field} rows={2} maxLength={16_000} value={message} onInput={(event) => setMessage(event.currentTarget.value)} />
        </label>
        <div class="acts">
          <button type="submit" class="danger" disabled={isBusy}>
            Reject
          </button>
          <button type="button" disabled={isBusy} onClick={() => setIsRejecting(false)}>
            Back
          </button>
        </div>
      </form>
    );
  }
  return (
    <>
      <p class="meta">
        “Always” allows{" "}
        {request.always?.length
          ? request.always.map((pattern, at) => (
              <span key={pattern}>
                {at > 0 && ", "}
                <code>{pattern}</code>
              </span>
            ))
          : "what the assistant takes to be like it"}{" "}
        while the assistant runs.
      </p>
      <div class="acts">
        <button type="button" class="primary" disabled={isBusy} onClick={() => void give({ reply: "once" })}>
          Allow once
        </button>
        <button type="button" disabled={isBusy} onClick={() => void give({ reply: "always" })}>
          Always
        </button>
        <button type="button" class="danger" disabled={isBusy} onClick={() => setIsRejecting(true)}>
          Reject…
        </button>
      </div>
    </>
  );
}

function Questions({ request, isBusy, give }: FormProps) {
  const questions = request.questions ?? [];
  const [chosen, setChosen] = useState<string[][]>(() => questions.map(() => []));
  const [texts, setTexts] = useState<string[]>(() => questions.map(() => ""));
  const put = <T,>(list: T[], at: number, value: T) => list.map((one, index) => (index === at ? value : one));
  const answers = questions.map((_, at) => {
    const text = texts[at]?.trim() ?? "";
    return { options: chosen[at] ?? [], ...(text === "" ? {} : { text }) };
  });
  const isWhole = answers.every((one) => one.options.length > 0 || "text" in one);
  return (
    <form onSubmit={(event) => (event.preventDefault(), void give({ reply: "answer", answers }))}>
      {questions.map((question, at) => (
        <fieldset key={at}>
          <legend>{question.question}</legend>
          {question.options.map((option) => {
            const isChosen = chosen[at]?.includes(option.label) ?? false;
            const choose = () => {
              const others = question.multiple ? (chosen[at] ?? []).filter((label) => label !== option.label) : [];
              setChosen(put(chosen, at, question.multiple && isChosen ? others : [...others, option.label]));
            };
            return (
              <label class="option" key={option.label}>
                <input
                  type={question.multiple ? "checkbox" : "radio"}
                  name={`${request.requestId}-${at}`}
                  checked={isChosen}
                  onChange={choose}
                />
                <span>
                  {option.label} {option.description && <span class="meta">{option.description}</span>}
                </span>
              </label>
            );
          })}
          {question.custom !== false && (
            <label class="own">
              In your words
              <input
                type="text"
                maxLength={16_000}
                value={texts[at] ?? ""}
                onInput={(event) => setTexts(put(texts, at, event.currentTarget.value))}
              />
            </label>
          )}
        </fieldset>
      ))}
      <div class="acts">
        <button type="submit" class="primary" disabled={isBusy || !isWhole}>
          Answer
        </button>
        <button type="button" class="danger" disabled={isBusy} onClick={() => void give({ reply: "reject" })}>
          Dismiss
        </button>
      </div>
    </form>
  );
}

/** By this device's clock, so only said when it is near, and never as if it were over: that is the deployment's to say. */
function Left({ until }: { until: number }) {
  const left = until - useNow(1_000);
  if (left <= 0 || left > SAY_DEADLINE_BEFORE_MS) return null;
  const words = left > 90_000 ? `${Math.round(left / 60_000)} min` : duration(Math.ceil(left / 1_000) * 1_000).replace(".0", "");
  return <span>rejected by itself in {words}</span>;
}
