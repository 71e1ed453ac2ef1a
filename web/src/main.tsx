// The page's beginning: what a link has brought is taken out of the address at once, the connection is made, the views
// take over.

import { render } from "preact";
import { api } from "./data/api";
import { chooseDeployment, deploymentUrl } from "./data/address";
import { Connection } from "./data/connection";
import { WorldContext } from "./data/hooks";
import { given, keepToken, storedToken } from "./data/identity";
import { forgetFile, upload } from "./data/files";
import { Outbox, type Send } from "./data/outbox";
import { beginPairing, unansweredPairing } from "./data/pairing";
import { App } from "./views/App";

function takeLink(): void {
  const { token, pair, deployment } = given(location.hash);
  if (deployment !== undefined) chooseDeployment(deployment);
  if (token !== undefined) keepToken(token);
  // A token or a code in the address would end in the history and in what people copy.
  if (token !== undefined || pair !== undefined || deployment !== undefined) history.replaceState(null, "", "#/");
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

function start(): void {
  const { pair: linked } = given(location.hash);
  takeLink();
  if (linked !== undefined) beginPairing(linked);
  const pair = linked ?? unansweredPairing()?.code;
  const connection = new Connection(deploymentUrl());
  const outbox = new Outbox(sending(connection));
  let wasIn = false;
  connection.listen(() => {
    const isIn = connection.standing().sign === "in";
    if (isIn && !wasIn) outbox.resume();
    wasIn = isIn;
  });
  const token = storedToken();
  if (pair !== undefined) void connection.pair(pair);
  else if (token !== null) connection.signIn(token);
  // A link that is opened while the page is: the same as if it had been opened with it.
  addEventListener("hashchange", () => {
    const link = given(location.hash);
    // The deployment is chosen at the beginning; the link is taken there, too.
    if (link.deployment !== undefined) return location.reload();
    takeLink();
    if (link.pair !== undefined) void connection.pair(link.pair);
    else if (link.token !== undefined) connection.signIn(link.token);
  });
  const place = document.getElementById("page");
  if (!place) return;
  place.replaceChildren();
  render(
    <WorldContext.Provider value={{ connection, outbox }}>
      <App />
    </WorldContext.Provider>,
    place,
  );
}

start();
