// The frame: on a phone one view at a time, on a wider screen the sessions stay beside it. Above all of it stands what
// concerns all of it: the connection, and the identity.

import { useEffect, useRef } from "preact/hooks";
import { useStanding, useWorld } from "../data/hooks";
import { address, useRoute, type Route } from "../route";
import { Banner } from "./Banner";
import { Machines } from "./Machines";
import { NewSession } from "./NewSession";
import { SessionList } from "./SessionList";
import { SessionView } from "./SessionView";
import { SignIn } from "./SignIn";
import { Pushing } from "./Pushing";
import { Telling } from "./Telling";

export function App() {
  const route = useRoute();
  const { sign } = useStanding();
  const { connection } = useWorld();
  const title = useRef<string>("");
  useEffect(() => {
    // What a screen reader says after a jump: the new view's heading.
    const place = route.name === "session" ? `session ${route.sessionId}` : route.name;
    if (title.current !== "" && title.current !== place) document.querySelector<HTMLElement>("[data-heading]")?.focus();
    title.current = place;
  }, [route]);
  if (sign !== "in") {
    return (
      <div class="alone">
        <Banner />
        <SignIn sign={sign} connection={connection} />
      </div>
    );
  }
  return (
    <div class="frame" data-route={route.name}>
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), document.getElementById("main")?.focus())}>
        Skip to the content
      </a>
      <Banner />
      <Telling />
      <Pushing />
      <nav class="side" aria-label="Sessions">
        <SessionList current={route.name === "session" ? route.sessionId : null} />
      </nav>
      <main id="main" tabIndex={-1}>
        <View route={route} />
      </main>
    </div>
  );
}

function View({ route }: { route: Route }) {
  switch (route.name) {
    case "session":
      return <SessionView key={route.sessionId} sessionId={route.sessionId} />;
    case "new":
      return <NewSession {...(route.workerId === undefined ? {} : { workerId: route.workerId })} />;
    case "machines":
      return <Machines />;
    case "sessions":
      return (
        <div class="empty">
          <p>Choose a session, or start a new one.</p>
          <a class="button primary" href={address({ name: "new" })}>
            New session
          </a>
        </div>
      );
  }
}
