// The page's beginning: what a link has brought is taken out of the address at once, the connection is made, the views
// take over.

import { render } from "preact";
import { api } from "./data/api";
import { deploymentUrl, keepTried, parseDeployment, tryDeployment } from "./data/address";
import { Connection } from "./data/connection";
import { WorldContext } from "./data/hooks";
import { given, keepToken, storedToken, type Given } from "./data/identity";
import { forgetFile, upload } from "./data/files";
import { Outbox, type Send } from "./data/outbox";
import { beginPairing, unansweredPairing } from "./data/pairing";
import { App } from "./views/App";
import { Elsewhere } from "./views/Elsewhere";

function takeLink(): Given {
  const link = given(location.hash);
  // A token or a code in the address would end in the history and in what people copy.
  if (link.token !== undefined || link.pair !== undefined || link.deployment !== undefined) history.replaceState(null, "", "#/");
  return link;
}

/** Another deployment than the present one, if the link names one. What is no address is passed over. */
function elsewhere({ deployment }: Given): string | null {
  const parsed = deployment === undefined ? null : parseDeployment(deployment);
  return parsed && "url" in parsed && parsed.url !== deploymentUrl() ? parsed.url : null;
}

function begin(): void {
  const link = takeLink();
  const there = elsewhere(link);
  const place = document.getElementById("page");
  if (!place) return;
  place.replaceChildren();
  if (there === null) return start(place, link);
  // Nobody is moved to another deployment unasked, and what the link brings is for that one alone.
  const decide = (goes: boolean) => {
    render(null, place);
    if (goes) tryDeployment(there);
    start(place, goes ? link : {});
  };
  render(<Elsewhere here={deploymentUrl()} there={there} decide={decide} />, place);
}

/** Files first; the message names them, and their bytes are forgotten when it has them. */
function sending({ client }: Connection): Send {
  return async ({ files = [], ...message }, tell) => {
    if (files.length === 0) return await client.mutation(api.messages.send, message);
    await upload(files, {
      begin: (file) => client.mutation(api.attachments.begin, file),
      put: (piece) => client.mutation(api.attachments.put, piece),
      tell,
    });
    const sent = await client.mutation(api.messages.send, { ...message, attachments: files.map(({ id }) => id) });
    for (const { id } of files) void forgetFile(id);
    return sent;
  };
}

function start(place: HTMLElement, { token: brought, pair: linked }: Given): void {
  if (brought !== undefined) keepToken(brought);
  if (linked !== undefined) beginPairing(linked);
  const pair = linked ?? unansweredPairing()?.code;
  const connection = new Connection(deploymentUrl());
  const outbox = new Outbox(sending(connection));
  let wasIn = false;
  connection.listen(() => {
    const isIn = connection.standing().sign === "in";
    if (isIn) keepTried();
    if (isIn && !wasIn) outbox.resume();
    wasIn = isIn;
  });
  const token = storedToken();
  if (pair !== undefined) void connection.pair(pair);
  else if (token !== null) connection.signIn(token);
  // A link that is opened while the page is: the same as if it had been opened with it.
  addEventListener("hashchange", () => {
    // The deployment is chosen at the beginning; the link is taken there, too.
    if (elsewhere(given(location.hash)) !== null) return location.reload();
    const link = takeLink();
    if (link.pair !== undefined) return void connection.pair(link.pair);
    if (link.token === undefined) return;
    keepToken(link.token);
    connection.signIn(link.token);
  });
  render(
    <WorldContext.Provider value={{ connection, outbox }}>
      <App />
    </WorldContext.Provider>,
    place,
  );
}

begin();
