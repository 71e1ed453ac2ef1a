// Where one is in the page: the fragment, so that any static server will do and links can be kept.

import { useEffect, useState } from "preact/hooks";

export type Route =
  | { name: "sessions" }
  | { name: "new"; workerId?: string }
  | { name: "session"; sessionId: string }
  | { name: "machines" };

export function parseRoute(fragment: string): Route {
  const [place, id] = fragment.replace(/^#\/?/, "").split("/");
  if (place === "session" && id) return { name: "session", sessionId: decoded(id) };
  if (place === "new") return id ? { name: "new", workerId: decoded(id) } : { name: "new" };
  if (place === "machines") return { name: "machines" };
  return { name: "sessions" };
}

export function address(route: Route): string {
  switch (route.name) {
    case "session":
      return `#/session/${encodeURIComponent(route.sessionId)}`;
    case "new":
      return route.workerId === undefined ? "#/new" : `#/new/${encodeURIComponent(route.workerId)}`;
    case "machines":
      return "#/machines";
    case "sessions":
      return "#/";
  }
}

export function go(route: Route): void {
  location.hash = address(route);
}

export function useRoute(): Route {
  const [route, setRoute] = useState(parseRoute(location.hash));
  useEffect(() => {
    const changed = () => setRoute(parseRoute(location.hash));
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
